// How many pods and containers there are, for metrics. Pure.
import { isAlive, type PodRuntime, type RuntimeContainerState } from '../runtime-cache/pod-runtime.ts';

/** Stage of each pod's worker, by lifecycle name of the metric. */
const lifecycles: Record<string, string> = {
  running: 'sync',
  terminating: 'terminating',
  terminated: 'terminated',
  removed: 'terminated',
};

/** Pods by what is being done with them. */
export function countPods(stages: readonly string[], runtimes: readonly PodRuntime[]) {
  const working: Record<string, number> = { sync: 0, terminating: 0, terminated: 0 };
  for (const stage of stages) {
    const name = lifecycles[stage] ?? 'sync';
    working[name] = (working[name] ?? 0) + 1;
  }
  return {
    desired: stages.length,
    active: (working['sync'] ?? 0) + (working['terminating'] ?? 0),
    running: runtimes.filter(isAlive).length,
    working,
  };
}

/** Containers by state. */
export function countContainers(runtimes: readonly PodRuntime[]): Record<RuntimeContainerState, number> {
  const counts = { created: 0, running: 0, exited: 0, unknown: 0 };
  for (const { containers } of runtimes) for (const { state } of containers) counts[state] += 1;
  return counts;
}
