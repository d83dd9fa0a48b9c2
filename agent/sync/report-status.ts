// Computes a pod's status from what was observed and hands it to the status manager.
import type { PodStatus } from '#kube/api/generated/core-v1.ts';
import { parseTime } from '#kube/api/time.ts';
import { configSeenAnnotation } from '../container/labels.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { computePodStatus } from '../status/compute-pod-status.ts';
import type { PodTools, PodWork } from './pod-work.ts';

/** Computes the status as it is now. `terminal`: no container of the pod will run again. */
export function statusOf(tools: PodTools, work: PodWork, observed: PodRuntime, terminal: boolean): PodStatus {
  const before = tools.statuses.get(work.pod.metadata.uid ?? '') ?? work.pod.status;
  const told = [...(before?.containerStatuses ?? []), ...(before?.initContainerStatuses ?? [])];
  return computePodStatus({
    pod: work.pod,
    before: (name) => told.find((status) => status.name === name),
    observed,
    waiting: work.waiting,
    isReady: (id, container) => tools.probes.isReady(id, container),
    isStarted: (id, container) => tools.probes.isStarted(id, container),
    devices: (container) => tools.deviceHealth?.(work.pod, container) ?? [],
    runtimeName: tools.runtimeName,
    recursiveReadOnly: tools.execute.recursiveReadOnly(work.pod),
    hostIps: tools.hostIps(),
    actuated: tools.allocation.actuated(work.pod),
    resizeConditions: terminal ? [] : tools.allocation.conditions(work.pod.metadata.uid ?? ''),
    terminal,
    disruption: work.ended?.disruption,
    ended: terminal ? work.ended : undefined,
  });
}

/** Reports the status of a pod that may still run, and returns it. */
export function reportStatus(tools: PodTools, work: PodWork, observed: PodRuntime): PodStatus {
  tools.probes.sync(work.pod, observed);
  const status = statusOf(tools, work, observed, false);
  tools.statuses.set(work.pod, status, { mayRun: true });
  if (status.phase === 'Running' && !work.startTold) {
    work.startTold = true;
    const seenMs = parseTime(work.pod.metadata.annotations?.[configSeenAnnotation]);
    // Pods that ran before the agent did were not started by it.
    const own = observed.sandboxes.some(({ createdAtMs }) => seenMs !== undefined && createdAtMs >= seenMs);
    if (own && seenMs !== undefined) tools.observeStarted?.(tools.clock.now() - seenMs);
  }
  return status;
}

/**
 * Reports only that the sandbox is ready: its containers are still being created, and their states and the pod's
 * address are told together with them.
 */
export function reportSandboxReady(tools: PodTools, work: PodWork): void {
  const current = tools.statuses.get(work.pod.metadata.uid ?? '');
  if (current === undefined) return;
  const conditions = current.conditions?.map((condition) =>
    condition.type === 'PodReadyToStartContainers' ? { ...condition, status: 'True' } : condition,
  );
  tools.statuses.set(work.pod, { ...current, conditions }, { mayRun: true });
}
