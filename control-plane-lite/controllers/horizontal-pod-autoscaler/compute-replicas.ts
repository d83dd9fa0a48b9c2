// How many replicas a metric asks for. Pure.
// Behaviour: upstream's pkg/controller/podautoscaler/replica_calculator.go.
import { findCondition } from '#kube/api/conditions.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { isPodReady, isPodTerminating } from '#kube/api/pod-state.ts';
import { milliValue } from '#kube/api/quantity.ts';
import { parseTime } from '#kube/api/time.ts';

/** What was measured of a pod, in thousandths. */
export interface PodMetric {
  milli: number;
  atMs: number;
  windowMs: number;
}

export type PodMetrics = ReadonlyMap<string, PodMetric>;

/** How far from its target a metric may be without anything happening: shares of the target. */
export interface Tolerance {
  up: number;
  down: number;
}

/** What all metrics are looked at with. */
export interface Situation {
  /** Replicas asked for now. */
  replicas: number;
  /** The pods that the target's selector selects. */
  pods: readonly Pod[];
  tolerance: Tolerance;
  nowMs: number;
}

export interface Proposal {
  replicas: number;
  /** The average of a pod in thousandths, or the whole value where the metric is not of pods. */
  milli: number;
  /** The average in percent of what is requested. */
  utilization?: number;
}

/** After its start a pod uses more processor than later: until then only what it uses while ready counts. */
const cpuInitializationMs = 300_000;
/** A pod whose readiness changed this soon after its start has never been ready. */
const initialReadinessMs = 30_000;

interface PodGroups {
  ready: number;
  ignored: Set<string>;
  missing: Set<string>;
}

/** Whether the processor time of a pod says nothing of its work yet. */
function isWarmingUp(pod: Pod, metric: PodMetric, nowMs: number): boolean {
  const ready = findCondition(pod.status?.conditions, 'Ready');
  const startMs = parseTime(pod.status?.startTime);
  if (ready === undefined || startMs === undefined) return true;
  const changedMs = parseTime(ready.lastTransitionTime) ?? startMs;
  if (startMs + cpuInitializationMs > nowMs) {
    return ready.status === 'False' || metric.atMs < changedMs + metric.windowMs;
  }
  return ready.status === 'False' && startMs + initialReadinessMs > changedMs;
}

function groupPods({ pods, nowMs }: Situation, metrics: PodMetrics, resource: string): PodGroups {
  const groups: PodGroups = { ready: 0, ignored: new Set(), missing: new Set() };
  for (const pod of pods) {
    const { name } = pod.metadata;
    const metric = metrics.get(name);
    if (isPodTerminating(pod) || pod.status?.phase === 'Failed') continue;
    if (pod.status?.phase === 'Pending') groups.ignored.add(name);
    else if (metric === undefined) groups.missing.add(name);
    else if (resource === 'cpu' && isWarmingUp(pod, metric, nowMs)) groups.ignored.add(name);
    else groups.ready += 1;
  }
  return groups;
}

function isTolerated(ratio: number, { up, down }: Tolerance): boolean {
  return 1 - down <= ratio && ratio <= 1 + up;
}

/** Sums of requests by pod in thousandths. Throws an Error where a container requests nothing. */
export function podRequestsOf(pods: readonly Pod[], resource: string, container: string): Map<string, number> {
  const requests = new Map<string, number>();
  for (const { metadata, spec } of pods) {
    const ofPod = container === '' ? spec?.resources?.requests?.[resource] : undefined;
    if (ofPod !== undefined) {
      requests.set(metadata.name, milliValue(ofPod));
      continue;
    }
    const counted = [...(spec?.containers ?? []), ...(spec?.initContainers ?? []).filter(isSidecar)];
    let sum = 0;
    for (const { name, resources } of counted) {
      if (container !== '' && name !== container) continue;
      const request = resources?.requests?.[resource];
      if (request === undefined) {
        throw new Error(`missing request for ${resource} in container ${name} of Pod ${metadata.name}`);
      }
      sum += milliValue(request);
    }
    requests.set(metadata.name, sum);
  }
  return requests;
}

type Measure = (metrics: PodMetrics) => Proposal & { ratio: number };

/**
 * The common part of metrics of pods: pods without a metric count as what keeps the size, pods that are not ready
 * count only against growing. `full` is what a missing pod counts as when the size would shrink.
 */
function proposeFromPods(
  situation: Situation,
  metrics: PodMetrics,
  resource: string,
  full: (pod: string) => number,
  measure: Measure,
): Proposal {
  const { replicas, tolerance, pods } = situation;
  if (pods.length === 0) throw new Error('no pods returned by selector while calculating replica count');
  const { ready, ignored, missing } = groupPods(situation, metrics, resource);
  const counted = new Map([...metrics].filter(([pod]) => !ignored.has(pod)));
  if (counted.size === 0) throw new Error('did not receive metrics for any ready pods');
  const { ratio, ...shown } = measure(counted);
  const countsIgnored = ignored.size > 0 && ratio > 1;
  if (!countsIgnored && missing.size === 0) {
    return { ...shown, replicas: isTolerated(ratio, tolerance) ? replicas : Math.ceil(ratio * ready) };
  }
  const assumed = (milli: number) => ({ milli, atMs: situation.nowMs, windowMs: 0 });
  if (ratio !== 1) for (const pod of missing) counted.set(pod, assumed(ratio < 1 ? full(pod) : 0));
  if (countsIgnored) for (const pod of ignored) counted.set(pod, assumed(0));
  const again = measure(counted).ratio;
  const turns = (ratio < 1 && again > 1) || (ratio > 1 && again < 1);
  if (isTolerated(again, tolerance) || turns) return { ...shown, replicas };
  const wanted = Math.ceil(again * counted.size);
  const isAgainst = (again < 1 && wanted > replicas) || (again > 1 && wanted < replicas);
  return { ...shown, replicas: isAgainst ? replicas : wanted };
}

/** By a share of what the pods request, in percent. Throws an Error that says what is missing. */
export function proposeByUtilization(
  situation: Situation,
  metrics: PodMetrics,
  target: number,
  resource: string,
  container = '',
): Proposal {
  const requests = podRequestsOf(situation.pods, resource, container);
  return proposeFromPods(
    situation,
    metrics,
    resource,
    // A pod that nobody measured is taken for one that uses what it may, or what it is to use where that is more.
    (pod) => Math.ceil(((requests.get(pod) ?? 0) * Math.max(100, target)) / 100),
    (counted) => {
      const known = [...counted].filter(([pod]) => requests.has(pod));
      const used = known.reduce((sum, [, { milli }]) => sum + milli, 0);
      const requested = known.reduce((sum, [pod]) => sum + (requests.get(pod) ?? 0), 0);
      if (requested === 0) throw new Error('no metrics returned matched known pods');
      const utilization = Math.floor((used * 100) / requested);
      return {
        replicas: 0,
        ratio: utilization / target,
        utilization,
        milli: Math.floor(used / known.length),
      };
    },
  );
}

/** By the average of the pods, in thousandths. `resource` is empty for metrics that are not of a resource. */
export function proposeByAverage(
  situation: Situation,
  metrics: PodMetrics,
  targetMilli: number,
  resource: string,
): Proposal {
  return proposeFromPods(
    situation,
    metrics,
    resource,
    () => targetMilli,
    (counted) => {
      const sum = [...counted.values()].reduce((total, { milli }) => total + milli, 0);
      const milli = Math.floor(sum / counted.size);
      return { replicas: 0, ratio: milli / targetMilli, milli };
    },
  );
}

/** By one value that all pods share. With no replicas any need makes as many as the value asks for. */
export function proposeByValue(situation: Situation, milli: number, targetMilli: number): Proposal {
  const ratio = milli / targetMilli;
  const { replicas, pods, tolerance } = situation;
  if (replicas === 0) return { replicas: Math.ceil(ratio), milli };
  if (isTolerated(ratio, tolerance)) return { replicas, milli };
  if (pods.length === 0) throw new Error('no pods returned by selector while calculating replica count');
  const ready = pods.filter((pod) => pod.status?.phase === 'Running' && isPodReady(pod)).length;
  return { replicas: Math.ceil(ratio * ready), milli };
}

/** By one value divided among the pods that there are. */
export function proposeByShare(found: number, milli: number, targetMilli: number, tolerance: Tolerance): Proposal {
  const ratio = milli / (targetMilli * found);
  const replicas = isTolerated(ratio, tolerance) ? found : Math.ceil(milli / targetMilli);
  return { replicas, milli: found === 0 ? 0 : Math.ceil(milli / found) };
}
