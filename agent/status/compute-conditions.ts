// The conditions that the agent owns (pkg/kubelet/status/generate.go). Pure; transition times are set when merging.

import { findCondition } from '#kube/api/conditions.ts';
import type { ContainerStatus, Pod, PodCondition } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { PodPhase } from './compute-phase.ts';

/** The reason of DisruptionTarget where the node ends a pod. The condition is shared: others write it too. */
export const disruptionReason = 'TerminationByKubelet';

type Verdict = Pick<PodCondition, 'status' | 'reason' | 'message'>;

/** What conditions are computed from. */
export interface ConditionInputs {
  pod: Pod;
  phase: PodPhase;
  initStatuses: readonly ContainerStatus[];
  statuses: readonly ContainerStatus[];
  /** The sandbox is ready and has its network. */
  sandboxReady: boolean;
  /** The end of a container asked for a restart of all; undefined for pods in which none can. */
  restartingAll: boolean | undefined;
}

/** Of this agent alone: there while a pod waits for something, with what it waits for. */
export const blockedCondition = 'berth.io/Blocked';

/** The types of condition that the agent writes; all others belong to someone else. */
export const ownedConditions = [
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
  'AllContainersRestarting',
  'PodResizePending',
  'PodResizeInProgress',
  blockedCondition,
] as const;

const yes: Verdict = { status: 'True' };

function computeInitialized({ pod, phase, initStatuses, statuses }: ConditionInputs): Verdict {
  if (phase === 'Succeeded') return { status: 'True', reason: 'PodCompleted' };
  const hasStarted = statuses.some(
    ({ state, lastState, started }) =>
      started || state?.running !== undefined || state?.terminated !== undefined || lastState?.terminated !== undefined,
  );
  if (hasStarted) return yes;
  const incomplete = (pod.spec.initContainers ?? []).filter((container) => {
    const status = initStatuses.find((item) => item.name === container.name);
    return isSidecar(container) ? !(status?.started === true && status.ready) : status?.ready !== true;
  });
  if (incomplete.length === 0) return yes;
  const names = incomplete.map((container) => container.name).join(' ');
  const message = `containers with incomplete status: [${names}]`;
  return { status: 'False', reason: 'ContainersNotInitialized', message };
}

function computeContainersReady({ pod, phase, initStatuses, statuses }: ConditionInputs): Verdict {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar);
  const all = [...initStatuses, ...statuses];
  const unready = [...sidecars, ...pod.spec.containers]
    .filter((container) => all.find((status) => status.name === container.name)?.ready !== true)
    .map((container) => container.name);
  if (unready.length === 0) return yes;
  const message = `containers with unready status: [${unready.join(' ')}]`;
  return { status: 'False', reason: 'ContainersNotReady', message };
}

function computeReady(inputs: ConditionInputs, containersReady: Verdict): Verdict {
  if (containersReady.status !== 'True') return containersReady;
  const messages = (inputs.pod.spec.readinessGates ?? []).flatMap(({ conditionType }) => {
    const gate = findCondition(inputs.pod.status?.conditions, conditionType);
    if (gate === undefined) return [`corresponding condition of pod readiness gate "${conditionType}" does not exist.`];
    if (gate.status === 'True') return [];
    return [`the status of pod readiness gate "${conditionType}" is not "True", but ${gate.status}`];
  });
  if (messages.length === 0) return yes;
  return { status: 'False', reason: 'ReadinessGatesNotReady', message: messages.join(', ') };
}

function computeRestartingAll({ phase, restartingAll }: ConditionInputs): Verdict {
  if (phase === 'Succeeded') return { status: 'False', reason: 'PodCompleted' };
  if (phase === 'Failed') return { status: 'False', reason: 'PodFailed' };
  if (restartingAll !== true) return { status: 'False' };
  return {
    status: 'True',
    reason: 'RestartAllContainersStarted',
    message: 'container exited with restart policy rule',
  };
}

/** The owned conditions, in the order kubelet writes them. */
export function computeConditions(inputs: ConditionInputs): PodCondition[] {
  const containersReady = computeContainersReady(inputs);
  const verdicts: [string, Verdict][] = [
    ['PodReadyToStartContainers', { status: inputs.sandboxReady ? 'True' : 'False' }],
    ['Initialized', computeInitialized(inputs)],
    ['Ready', computeReady(inputs, containersReady)],
    ['ContainersReady', containersReady],
    ['PodScheduled', yes],
  ];
  if (inputs.restartingAll !== undefined) verdicts.push(['AllContainersRestarting', computeRestartingAll(inputs)]);
  const { generation } = inputs.pod.metadata;
  return verdicts.map(([type, verdict]) => ({
    type,
    ...(generation === undefined ? {} : { observedGeneration: generation }),
    ...verdict,
  }));
}
