// Which waiting pods a change in the cluster may help: only those are tried again. Pods that were refused for what
// nodes themselves are ask the node that changed; equal pods ask once.
import type { ClusterCache } from '../cache/cluster-cache.ts';
import { firstRefusal } from '../framework/evaluate.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import type { Profile } from '../framework/profile.ts';

/** `node`: a node came or became another; `room`: a pod of the node went, shrank, or is going. */
export type ClusterEvent = { kind: 'node' | 'room'; name: string } | { kind: 'pod' } | { kind: 'storage' | 'devices' };

/** Whether the event may help a pod that those plugins have refused. */
export type Hint = (pod: PodInfo, rejectors: ReadonlySet<string>) => boolean;

const aboutPods = ['PodTopologySpread', 'InterPodAffinity'];
const aboutDevices = ['DynamicResources'];
const aboutVolumes = ['VolumeBinding', 'VolumeRestrictions', 'NodeVolumeLimits', 'VolumeZone'];

/** The hint for one event. `promised`: the node that a pod waits for, on which its place is held already. */
export function createHint(
  event: ClusterEvent,
  cache: ClusterCache,
  profileOf: (pod: PodInfo) => Profile | undefined,
  promised: (uid: string) => string | undefined,
): Hint {
  const known = new Map<string, boolean>();

  function mayTake(pod: PodInfo, name: string): boolean {
    const node = cache.nodes.get(name);
    const profile = profileOf(pod);
    if (node === undefined || profile === undefined) return false;
    const refusal = firstRefusal(profile.plugins, pod, node);
    if (refusal === undefined) return true;
    if (!refusal.resolvable || profile.preemption === undefined) return false;
    return (
      cache.lowestPriority < pod.priority && [...node.pods.values()].some((other) => other.priority < pod.priority)
    );
  }

  return (pod, rejectors) => {
    const isAny = (names: readonly string[]) => names.some((name) => rejectors.has(name));
    switch (event.kind) {
      case 'pod':
        return isAny(aboutPods);
      case 'storage':
        return isAny(aboutVolumes);
      case 'devices':
        return isAny(aboutDevices);
      case 'node':
      case 'room': {
        if (rejectors.size === 0 || [aboutPods, aboutVolumes, aboutDevices].some(isAny)) return true;
        if (promised(pod.uid) === event.name) return true;
        const key = `${pod.schedulerName} ${pod.priority} ${pod.schedulingClass}`;
        const answer = known.get(key) ?? mayTake(pod, event.name);
        known.set(key, answer);
        return answer;
      }
      default:
        return event satisfies never;
    }
  };
}
