// CRI statuses as the agent's own view of a pod; reads the termination message of a container that ended.
import { basename, dirname, join } from 'node:path';
import type { Container__Output } from '#proto/generated/cri/runtime/v1/Container.ts';
import type { ContainerState__Output } from '#proto/generated/cri/runtime/v1/ContainerState.ts';
import type { ContainerStatus__Output } from '#proto/generated/cri/runtime/v1/ContainerStatus.ts';
import type { PodSandboxStatus__Output } from '#proto/generated/cri/runtime/v1/PodSandboxStatus.ts';
import { containerNameLabel, parseContainerFacts } from '../container/labels.ts';
import { readTerminationMessage } from '../container/termination-message.ts';
import type { RuntimeContainer, RuntimeContainerState, RuntimeSandbox } from './pod-runtime.ts';

const nsPerMs = 1e6;

export function containerState(state: ContainerState__Output): RuntimeContainerState {
  switch (state) {
    case 'CONTAINER_CREATED':
      return 'created';
    case 'CONTAINER_RUNNING':
      return 'running';
    case 'CONTAINER_EXITED':
      return 'exited';
    default:
      return 'unknown';
  }
}

/** A sandbox as its status describes it. */
export function convertSandbox(status: PodSandboxStatus__Output): RuntimeSandbox {
  const hostNetwork = status.linux?.namespaces?.options?.network === 'NODE';
  const ips = [status.network?.ip ?? '', ...(status.network?.additionalIps ?? []).map((item) => item.ip)];
  return {
    id: status.id,
    attempt: status.metadata?.attempt ?? 0,
    ready: status.state === 'SANDBOX_READY',
    createdAtMs: status.createdAt / nsPerMs,
    ips: hostNetwork ? [] : ips.filter((ip) => ip !== ''),
    hostNetwork,
    annotations: status.annotations,
    labels: status.labels,
  };
}

/** The log directory of the pod is the parent of each container's own. */
function absoluteLogPath(status: ContainerStatus__Output): string {
  return status.logPath === ''
    ? ''
    : join(dirname(dirname(status.logPath)), basename(dirname(status.logPath)), basename(status.logPath));
}

/** A container as its status describes it; `listed` supplies the sandbox it belongs to. */
export async function convertContainer(
  listed: Pick<Container__Output, 'podSandboxId'>,
  status: ContainerStatus__Output,
): Promise<RuntimeContainer> {
  const facts = parseContainerFacts(status.annotations);
  const state = containerState(status.state);
  const logPath = absoluteLogPath(status);
  let message = status.message;
  if (state === 'exited') {
    const mount = status.mounts.find((item) => item.containerPath === facts.terminationMessagePath);
    const fallback = facts.fallbackToLogsOnError && status.exitCode !== 0;
    const own = await readTerminationMessage(mount?.hostPath, logPath, fallback);
    if (own !== '') message = message === '' ? own : `${message}: ${own}`;
  }
  const user = status.user?.linux;
  return {
    id: status.id,
    name: status.labels[containerNameLabel] ?? status.metadata?.name ?? '',
    sandboxId: listed.podSandboxId,
    state,
    createdAtMs: status.createdAt / nsPerMs,
    startedAtMs: status.startedAt / nsPerMs,
    finishedAtMs: status.finishedAt / nsPerMs,
    exitCode: status.exitCode,
    reason: status.reason,
    message,
    image: status.image?.image ?? '',
    imageRef: status.imageRef,
    logPath,
    facts,
    stopSignal: status.stopSignal === 'RUNTIME_DEFAULT' ? undefined : status.stopSignal,
    user: user ? { uid: user.uid, gid: user.gid, supplementalGroups: user.supplementalGroups.map(Number) } : undefined,
  };
}
