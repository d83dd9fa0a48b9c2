// What the agent of a hollow node does next for a pod, without any containers: says that it runs, that it has ended, or
// lets it go. Pure.
import type { Container, ContainerStatus, Pod, PodCondition, PodStatus } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';

/** How a pod behaves, by its annotations. Without them its containers run until the pod is deleted. */
export const runSecondsAnnotation = 'berth.io/hollow-run-seconds';
export const exitCodeAnnotation = 'berth.io/hollow-exit-code';
export const readyAnnotation = 'berth.io/hollow-ready';

export type HollowAction =
  | { type: 'none' }
  | { type: 'wait'; delayMs: number }
  | { type: 'status'; status: PodStatus }
  | { type: 'delete' };

export interface HollowFacts {
  nowMs: number;
  hostIP: string;
  /** The pod's address; kept from its status where it has one. */
  podIP: string;
  startDelayMs: number;
}

function containerStatus(
  container: Container,
  uid: string,
  state: ContainerStatus['state'],
  ready: boolean,
): ContainerStatus {
  return {
    name: container.name,
    image: container.image ?? '',
    imageID: container.image ?? '',
    containerID: `hollow://${uid}-${container.name}`,
    restartCount: 0,
    started: state?.running !== undefined,
    ready,
    state: state ?? {},
  };
}

function conditionsOf(pod: Pod, now: string, ready: boolean, isOver: boolean): PodCondition[] {
  const gates = (pod.spec?.readinessGates ?? []).every(
    ({ conditionType }) => pod.status?.conditions?.find(({ type }) => type === conditionType)?.status === 'True',
  );
  const wanted: [type: string, isTrue: boolean][] = [
    ['PodReadyToStartContainers', !isOver],
    ['Initialized', true],
    ['Ready', ready && gates],
    ['ContainersReady', ready],
  ];
  return wanted.map(([type, isTrue]) => {
    const status = isTrue ? 'True' : 'False';
    const known = pod.status?.conditions?.find((other) => other.type === type && other.status === status);
    const reason = isOver && type.endsWith('Ready') ? { reason: 'PodCompleted' } : {};
    return { type, status, lastTransitionTime: known?.lastTransitionTime ?? now, ...reason };
  });
}

function addresses({ spec, status }: Pod, { hostIP, podIP }: HollowFacts): PodStatus {
  const ip = status?.podIP ?? (spec?.hostNetwork === true ? hostIP : podIP);
  return { hostIP, hostIPs: [{ ip: hostIP }], podIP: ip, podIPs: [{ ip }] };
}

function runningStatus(pod: Pod, facts: HollowFacts): PodStatus {
  const now = formatTime(facts.nowMs);
  const uid = pod.metadata.uid ?? '';
  const ready = pod.metadata.annotations?.[readyAnnotation] !== 'false';
  const running = { running: { startedAt: now } };
  const completed = { terminated: { exitCode: 0, reason: 'Completed', startedAt: now, finishedAt: now } };
  const init = (pod.spec?.initContainers ?? []).map((container) =>
    containerStatus(container, uid, isSidecar(container) ? running : completed, true),
  );
  return {
    phase: 'Running',
    startTime: pod.status?.startTime ?? now,
    ...addresses(pod, facts),
    conditions: conditionsOf(pod, now, ready, false),
    ...(init.length === 0 ? {} : { initContainerStatuses: init }),
    containerStatuses: (pod.spec?.containers ?? []).map((container) => containerStatus(container, uid, running, ready)),
  };
}

function endedStatus(pod: Pod, facts: HollowFacts, exitCode: number): PodStatus {
  const now = formatTime(facts.nowMs);
  const startedAt = pod.status?.startTime ?? now;
  const reason = exitCode === 0 ? 'Completed' : 'Error';
  const state = { terminated: { exitCode, reason, startedAt, finishedAt: now } };
  return {
    phase: exitCode === 0 ? 'Succeeded' : 'Failed',
    conditions: conditionsOf(pod, now, false, true),
    containerStatuses: (pod.spec?.containers ?? []).map((container) =>
      containerStatus(container, pod.metadata.uid ?? '', state, false),
    ),
  };
}

function numberOf(pod: Pod, annotation: string): number | undefined {
  const value = Number(pod.metadata.annotations?.[annotation] ?? Number.NaN);
  return Number.isFinite(value) && value >= 0 ? value : undefined;
}

function planRunning(pod: Pod, facts: HollowFacts): HollowAction {
  const runSeconds = numberOf(pod, runSecondsAnnotation);
  if (runSeconds !== undefined && pod.spec?.restartPolicy !== 'Always') {
    const startedMs = parseTime(pod.status?.startTime) ?? facts.nowMs;
    const delayMs = startedMs + runSeconds * 1000 - facts.nowMs;
    if (delayMs > 0) return { type: 'wait', delayMs };
    return { type: 'status', status: endedStatus(pod, facts, Math.floor(numberOf(pod, exitCodeAnnotation) ?? 0)) };
  }
  // Readiness gates are set by others.
  const ready = conditionsOf(pod, '', pod.metadata.annotations?.[readyAnnotation] !== 'false', false).find(
    ({ type }) => type === 'Ready',
  );
  const known = pod.status?.conditions?.find(({ type }) => type === 'Ready');
  if (known?.status === ready?.status) return { type: 'none' };
  return { type: 'status', status: { conditions: runningStatus(pod, facts).conditions ?? [] } };
}

/** The next thing to do; asked again after each change of the pod and each wait. */
export function planHollowPod(pod: Pod, facts: HollowFacts): HollowAction {
  if (isPodTerminating(pod)) {
    if (isPodTerminal(pod) || pod.status?.phase !== 'Running') return { type: 'delete' };
    return { type: 'status', status: endedStatus(pod, facts, 0) };
  }
  if (isPodTerminal(pod)) return { type: 'none' };
  if (pod.status?.phase === 'Running') return planRunning(pod, facts);
  const scheduled = pod.status?.conditions?.find(({ type }) => type === 'PodScheduled')?.lastTransitionTime;
  const delayMs = (parseTime(scheduled) ?? facts.nowMs - facts.startDelayMs) + facts.startDelayMs - facts.nowMs;
  if (facts.startDelayMs > 0 && delayMs > 0) return { type: 'wait', delayMs };
  return { type: 'status', status: runningStatus(pod, facts) };
}
