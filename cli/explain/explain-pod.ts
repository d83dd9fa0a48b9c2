// `berth explain pod`: the one step that keeps a pod from being ready. The agent of its node knows best; before a pod
// has a node, and on nodes that run another agent, the objects of the cluster have to do.
import { findCondition } from '#kube/api/conditions.ts';
import type { Event, Pod } from '#kube/api/generated/core-v1.ts';
import { events } from '#kube/api/generated/resources.ts';
import { parseTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { computeExplanation } from '../../agent/explain/compute-explanation.ts';
import type { Explanation } from '../../agent/explain/explanation.ts';
import { findPod, nodePath } from './find-pod.ts';

function explainScheduling(pod: Pod, nowMs: number): Explanation {
  const { name, namespace = '', uid = '', creationTimestamp } = pod.metadata;
  const condition = findCondition(pod.status?.conditions ?? [], 'PodScheduled');
  const since = condition?.lastTransitionTime ?? creationTimestamp;
  const sinceMs = parseTime(since);
  const gates = (pod.spec.schedulingGates ?? []).map((gate) => gate.name);
  const waiting = `no scheduler named ${pod.spec.schedulerName ?? 'default-scheduler'} has looked at the pod yet`;
  const gated = `the pod waits for its scheduling gates: ${gates.join(', ')}`;
  const message = gates.length > 0 ? gated : (condition?.message ?? waiting);
  return {
    namespace,
    name,
    uid,
    phase: pod.status?.phase ?? 'Pending',
    step: 'scheduling',
    message,
    ...(since === undefined ? {} : { since }),
    ...(sinceMs === undefined ? {} : { ageSeconds: Math.max(0, Math.round((nowMs - sinceMs) / 1000)) }),
    ...(gates.length === 0 && condition?.message !== undefined ? { lastError: condition.message } : {}),
  };
}

function warningsOf(list: readonly Event[]) {
  const warnings = new Map<string, { reason: string; message: string; atMs: number }>();
  for (const { type, reason = '', message = '', involvedObject, lastTimestamp, eventTime } of list) {
    if (type !== 'Warning') continue;
    const container = /\{(.*)\}$/.exec(involvedObject.fieldPath ?? '')?.[1] ?? '';
    const atMs = parseTime(lastTimestamp ?? eventTime) ?? 0;
    if ((warnings.get(container)?.atMs ?? -1) <= atMs) warnings.set(container, { reason, message, atMs });
  }
  return warnings;
}

async function explainFromObjects(
  client: ApiClient,
  pod: Pod,
  clock: Clock,
  signal: AbortSignal,
): Promise<Explanation> {
  const { namespace = '', uid } = pod.metadata;
  const listed = await client.list(events, { namespace, fieldSelector: `involvedObject.uid=${uid}`, signal });
  return computeExplanation({
    pod,
    status: pod.status ?? {},
    steps: [],
    warnings: warningsOf(listed.items),
    dueAtMs: undefined,
    nowMs: clock.now(),
  });
}

/** Explains the pod of that name. Throws UsageError when there is none. */
export async function explainPod(
  client: ApiClient,
  name: string,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ pod: Pod; explanation: Explanation }> {
  const pod = await findPod(client, name, signal);
  if ((pod.spec.nodeName ?? '') === '') return { pod, explanation: explainScheduling(pod, clock.now()) };
  try {
    const path = nodePath(pod, 'explain');
    return { pod, explanation: await client.raw<Explanation>({ method: 'GET', path, signal }) };
  } catch {
    signal.throwIfAborted();
    return { pod, explanation: await explainFromObjects(client, pod, clock, signal) };
  }
}
