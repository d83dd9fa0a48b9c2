// The end of a container that starts the whole pod again in its sandbox (KEP-5532): what has to go before. Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  latestContainer,
  liveContainers,
  type PodRuntime,
  type RuntimeContainer,
} from '../runtime-cache/pod-runtime.ts';
import type { PodAction } from './pod-action.ts';
import { matchingRule, mayRestartAll } from './restart-policy.ts';

/** Runs whose end asked for a restart of all containers. */
export function restartAllTriggers(pod: Pod, observed: PodRuntime): RuntimeContainer[] {
  if (!mayRestartAll(pod)) return [];
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers].flatMap((container) => {
    const latest = latestContainer(observed, container.name);
    if (latest?.state !== 'exited') return [];
    return matchingRule(container, latest.exitCode)?.action === 'RestartAllContainers' ? [latest] : [];
  });
}

/**
 * Undefined where nothing asks for it. The runs that asked are removed last: as long as one of them is there, a new
 * agent goes on with the restart. Ephemeral containers are stopped and stay: they never run twice.
 */
export function planRestartAll(pod: Pod, observed: PodRuntime): PodAction | undefined {
  const triggers = restartAllTriggers(pod, observed);
  if (triggers.length === 0 || pod.metadata.deletionTimestamp !== undefined) return undefined;
  const ephemeral = new Set((pod.spec.ephemeralContainers ?? []).map(({ name }) => name));
  const rest = observed.containers.filter((item) => !ephemeral.has(item.name) && !triggers.includes(item));
  return { type: 'restartAll', stop: liveContainers(observed), remove: [...rest, ...triggers] };
}
