// Finds the one step that keeps a pod from being ready, from its status, the steps under way and the last warning.
// Pure.
import { findCondition } from '#kube/api/conditions.ts';
import type { ContainerStatus, Pod, PodStatus } from '#kube/api/generated/core-v1.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';
import type { EvictionRecord } from '../eviction/eviction-records.ts';
import type { Explanation } from './explanation.ts';
import type { StepName, StepState } from './pod-steps.ts';

/** What is known about one pod. */
export interface ExplainInputs {
  pod: Pod;
  status: PodStatus;
  steps: readonly StepState[];
  /** The newest warning about each container; under '' about the pod. */
  warnings: ReadonlyMap<string, { reason: string; message: string; atMs: number }>;
  /** When the pod is looked at again, wall clock; undefined when only an event will bring it back. */
  dueAtMs: number | undefined;
  nowMs: number;
  bytes?: { done: number; total?: number } | undefined;
  eviction?: EvictionRecord | undefined;
}

const doing: Record<StepName, string> = {
  admission: 'asking whether the node takes the pod',
  volume: 'preparing volumes',
  sandbox: 'creating the sandbox and its network',
  pull: 'pulling image',
  start: 'creating and starting the container',
  hook: 'running the postStart hook',
  termination: 'stopping containers',
};

type Finding = Omit<Explanation, 'namespace' | 'name' | 'uid' | 'phase' | 'ageSeconds'>;

function allStatuses({ initContainerStatuses = [], containerStatuses = [] }: PodStatus): ContainerStatus[] {
  return [...(initContainerStatuses ?? []), ...(containerStatuses ?? [])];
}

function retryAt({ dueAtMs }: ExplainInputs): { nextRetry?: string } {
  return dueAtMs === undefined ? {} : { nextRetry: formatTime(dueAtMs) };
}

/** The step's own words, or, of volumes, the newest event about one of them: it says more. */
function lastErrorOf({ warnings }: ExplainInputs, { step, lastError }: StepState): { message: string } | undefined {
  const warning = step === 'volume' && lastError !== undefined ? warnings.get('') : undefined;
  return warning === undefined ? lastError : warning;
}

function explainStep(inputs: ExplainInputs, state: StepState): Finding {
  const { step, container, subject } = state;
  const lastError = lastErrorOf(inputs, state);
  const what = subject === undefined ? doing[step] : `${doing[step]} ${subject}`;
  const text = state.running || lastError === undefined ? what : `${what}: ${lastError.message}`;
  return {
    step,
    message: text,
    since: formatTime(state.sinceMs),
    attempts: state.attempts,
    ...(container === undefined ? {} : { container }),
    ...(lastError === undefined ? {} : { lastError: lastError.message }),
    ...(state.running ? {} : retryAt(inputs)),
    ...(step === 'pull' && state.running && inputs.bytes !== undefined ? { bytes: inputs.bytes } : {}),
  };
}

function explainBackoff(inputs: ExplainInputs): Finding | undefined {
  for (const { name, state, lastState } of allStatuses(inputs.status)) {
    const { reason, message = '' } = state?.waiting ?? {};
    if (reason !== 'CrashLoopBackOff') continue;
    const ended = lastState?.terminated;
    const last = ended === undefined ? {} : { lastError: describeEnd(ended) };
    const since = ended?.finishedAt === undefined ? {} : { since: ended.finishedAt };
    return { step: 'backoff', container: name, message, ...since, ...last, ...retryAt(inputs) };
  }
  return undefined;
}

function describeEnd({
  exitCode,
  reason = '',
  message = '',
}: {
  exitCode: number;
  reason?: string | undefined;
  message?: string | undefined;
}): string {
  return `the container ended with exit code ${exitCode} (${reason})${message === '' ? '' : `: ${message.trim()}`}`;
}

function explainProbe(inputs: ExplainInputs): Finding | undefined {
  const { pod, status, warnings } = inputs;
  for (const { name, ready, started, state } of allStatuses(status)) {
    const since = state?.running?.startedAt;
    if (ready || state?.running === undefined) continue;
    const spec = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].find((item) => item.name === name);
    const kind = started === false && spec?.startupProbe !== undefined ? 'startup' : 'readiness';
    const probe = kind === 'startup' ? spec?.startupProbe : spec?.readinessProbe;
    if (probe === undefined) continue;
    const warning = warnings.get(name);
    const failed = warning?.reason === 'Unhealthy' ? { lastError: warning.message } : {};
    const next =
      warning === undefined ? {} : { nextRetry: formatTime(warning.atMs + (probe.periodSeconds ?? 10) * 1000) };
    const message = failed.lastError ?? `waiting for the ${kind} probe to succeed`;
    return { step: 'probe', container: name, message, ...(since === undefined ? {} : { since }), ...failed, ...next };
  }
  return undefined;
}

function explainGate({ pod, status }: ExplainInputs): Finding | undefined {
  for (const { conditionType } of pod.spec.readinessGates ?? []) {
    const condition = findCondition(status.conditions ?? [], conditionType);
    if (condition?.status === 'True') continue;
    const said = condition?.message === undefined ? '' : `: ${condition.message}`;
    return { step: 'readinessGate', message: `waiting for condition ${conditionType} to be True${said}` };
  }
  return undefined;
}

function explainEnd({ pod, steps }: ExplainInputs): Finding | undefined {
  const since = pod.metadata.deletionTimestamp;
  if (since === undefined) return undefined;
  const state = steps.find(({ step }) => step === 'termination');
  if (state === undefined) {
    const { finalizers = [] } = pod.metadata;
    if (finalizers.length === 0) return undefined;
    return { step: 'finalizer', message: `waiting for finalizers to be removed: ${finalizers.join(', ')}`, since };
  }
  const grace = pod.metadata.deletionGracePeriodSeconds ?? 0;
  const failed = state.lastError === undefined ? {} : { lastError: state.lastError.message };
  const what = failed.lastError ?? `stopping containers, with a grace period of ${grace} s`;
  return { step: 'termination', message: what, since: formatTime(state.sinceMs), attempts: state.attempts, ...failed };
}

function find(inputs: ExplainInputs): Finding {
  const { status, steps, warnings } = inputs;
  const ending = explainEnd(inputs);
  if (ending !== undefined) return ending;
  const { phase = 'Pending', reason } = status;
  if (phase === 'Succeeded' || phase === 'Failed') {
    return {
      step: 'none',
      message: reason === undefined ? `the pod has ended: ${phase}` : `the pod has ended: ${reason}`,
    };
  }
  if (findCondition(status.conditions ?? [], 'Ready')?.status === 'True') {
    return { step: 'none', message: 'the pod is ready' };
  }
  const backoff = explainBackoff(inputs);
  if (backoff !== undefined) return backoff;
  const [blocking] = steps.filter(({ step }) => step !== 'termination');
  if (blocking !== undefined) return explainStep(inputs, blocking);
  const waiting = explainProbe(inputs) ?? explainGate(inputs);
  if (waiting !== undefined) return waiting;
  const warning = warnings.get('');
  const last = warning === undefined ? {} : { lastError: warning.message };
  return {
    step: 'start',
    message: warning?.message ?? 'the node is about to look at the pod',
    ...last,
    ...retryAt(inputs),
  };
}

/** Explains one pod. */
export function computeExplanation(inputs: ExplainInputs): Explanation {
  const { name, namespace = '', uid = '' } = inputs.pod.metadata;
  const finding = find(inputs);
  const sinceMs = parseTime(finding.since);
  const age = sinceMs === undefined ? {} : { ageSeconds: Math.max(0, Math.round((inputs.nowMs - sinceMs) / 1000)) };
  const eviction = inputs.eviction === undefined ? {} : { eviction: inputs.eviction };
  return { namespace, name, uid, phase: inputs.status.phase ?? 'Pending', ...finding, ...age, ...eviction };
}
