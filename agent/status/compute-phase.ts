// The phase of a pod from the states of its containers (pkg/kubelet/kubelet_pods.go: getPhase). Pure.
import type { Container, ContainerStatus, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { restartsAfterExit } from '../sync/restart-policy.ts';

export type PodPhase = 'Pending' | 'Running' | 'Succeeded' | 'Failed';

interface InitTally {
  pending: number;
  failed: number;
}

function exitCodeOf(status: ContainerStatus | undefined): number | undefined {
  return status?.state?.terminated?.exitCode ?? status?.lastState?.terminated?.exitCode;
}

function tallyInit(pod: Pod, container: Container, status: ContainerStatus | undefined, tally: InitTally): void {
  if (isSidecar(container)) {
    const hasRun = status?.state?.running !== undefined ? status.started === true : exitCodeOf(status) !== undefined;
    if (!hasRun) tally.pending += 1;
    return;
  }
  const state = status?.state;
  if (state?.terminated !== undefined) {
    if (state.terminated.exitCode !== 0) {
      if (restartsAfterExit(pod, container, state.terminated.exitCode)) tally.pending += 1;
      else tally.failed += 1;
    }
    return;
  }
  tally.pending += 1;
}

/** With `terminal` no container will run again, whatever the restart policy. */
export function computePhase(
  pod: Pod,
  initStatuses: readonly ContainerStatus[],
  statuses: readonly ContainerStatus[],
  terminal: boolean,
): PodPhase {
  const find = (list: readonly ContainerStatus[], name: string) => list.find((status) => status.name === name);
  const init: InitTally = { pending: 0, failed: 0 };
  for (const container of pod.spec.initContainers ?? []) {
    tallyInit(pod, container, find(initStatuses, container.name), init);
  }
  let waiting = 0;
  let running = 0;
  let stopped = 0;
  let succeeded = 0;
  let restarting = 0;
  let unknown = 0;
  for (const container of pod.spec.containers) {
    const status = find(statuses, container.name);
    const state = status?.state;
    const ended = state?.terminated ?? (state?.waiting === undefined ? undefined : status?.lastState?.terminated);
    if (state?.running !== undefined) running += 1;
    else if (ended !== undefined) {
      stopped += 1;
      if (ended.exitCode === 0) succeeded += 1;
      if (restartsAfterExit(pod, container, ended.exitCode)) restarting += 1;
    } else if (state?.waiting !== undefined) waiting += 1;
    else unknown += 1;
  }
  if (init.failed > 0) return 'Failed';
  if (init.pending > 0 && running === 0 && stopped === 0) return 'Pending';
  if (waiting > 0) return 'Pending';
  if (running > 0 && unknown === 0) return 'Running';
  if (running === 0 && stopped > 0 && unknown === 0) {
    if (restarting > 0 && !terminal) return 'Running';
    return stopped === succeeded ? 'Succeeded' : 'Failed';
  }
  return 'Pending';
}
