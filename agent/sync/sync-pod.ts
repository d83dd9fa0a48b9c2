// One step of a pod that is meant to run: look, report, prepare, plan, execute, look again
// (pkg/kubelet/kubelet.go: SyncPod).
import { mkdir } from 'node:fs/promises';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { parseTime } from '#kube/api/time.ts';
import { podLogsDirectory } from '../container/log-paths.ts';
import { usesHostNetwork } from '../container/pod-containers.ts';
import { isCriNotFound } from '../cri/cri-error.ts';
import { emptyPodRuntime, type PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { VolumeError } from '../volume/payload.ts';
import { backoffKey, executePodActions, SandboxError } from './execute-pod-actions.ts';
import type { KeyDelay } from './key-backoff.ts';
import { planPodActions } from './plan-pod-actions.ts';
import type { PodAction } from './pod-action.ts';
import type { PodTools, PodWork } from './pod-work.ts';
import { reportSandboxReady, reportStatus } from './report-status.ts';
import { settleResize } from './resize-pod.ts';

const minVolumeRetryMs = 500;
const maxVolumeRetryMs = 10_000;

/** When to look at the pod again at the latest; `finished`: it has ended by itself. */
export interface SyncResult {
  requeueAfterMs: number;
  finished: boolean;
}

/** Milliseconds until the pod's activeDeadlineSeconds run out; undefined without one. */
function deadlineInMs(pod: Pod, startTime: string | undefined, nowMs: number): number | undefined {
  const seconds = pod.spec.activeDeadlineSeconds;
  const startedMs = parseTime(startTime);
  if (seconds === undefined || startedMs === undefined) return undefined;
  return startedMs + seconds * 1000 - nowMs;
}

/** Older sandboxes that hold nothing any more. */
async function removeOldSandboxes(tools: PodTools, observed: PodRuntime, signal: AbortSignal): Promise<void> {
  for (const sandbox of observed.sandboxes.slice(1)) {
    if (sandbox.ready || observed.containers.some(({ sandboxId }) => sandboxId === sandbox.id)) continue;
    await tools.execute.runtime.removePodSandbox(sandbox.id, signal).catch((error: unknown) => {
      if (!isCriNotFound(error)) throw error;
    });
  }
}

/** Nothing tells that storage has become ready: it is asked for soon, and more seldom the longer it takes. */
function volumeRetryMs(tools: PodTools, uid: string): number {
  const since = tools.volumes.blocking(uid).map(({ sinceMs }) => tools.clock.now() - sinceMs);
  return Math.min(Math.max(Math.min(...since), minVolumeRetryMs), maxVolumeRetryMs);
}

/** Devices of claims come from drivers: a pod must not run before they are ready. */
async function prepareClaims(tools: PodTools, { pod }: PodWork, signal: AbortSignal): Promise<void> {
  const isExtended = pod.status?.extendedResourceClaimStatus !== undefined;
  if ((pod.spec.resourceClaims ?? []).length === 0 && !isExtended) return;
  try {
    if (tools.claims === undefined) throw new Error('this node has no drivers for dynamic resources');
    await tools.claims.prepare(pod, signal);
  } catch (error) {
    signal.throwIfAborted();
    const message = `Failed to prepare dynamic resources: ${(error as Error).message}`;
    tools.execute.record(pod, 'Warning', 'FailedPrepareDynamicResources', message);
    throw new Error(message, { cause: error });
  }
}

async function prepareNode(tools: PodTools, work: PodWork): Promise<void> {
  const { pod } = work;
  if (!work.cgroupReady) {
    // Not yet what it was given in the meantime: the pod's limits are raised and lowered with its containers'.
    await tools.cgroups.ensurePod(tools.allocation.actuated(pod)).catch((error: unknown) => {
      const message = `unable to ensure pod container exists: ${(error as Error).message}`;
      tools.execute.record(pod, 'Warning', 'FailedCreatePodContainer', message);
      throw error;
    });
    work.cgroupReady = true;
  }
  const { name, namespace = '', uid = '' } = pod.metadata;
  await mkdir(podLogsDirectory(tools.podLogsDir, namespace, name, uid), { recursive: true, mode: 0o755 });
}

/**
 * Sandboxes that cannot be made come and go in the runtime, and each of that wakes the pod: without a wait of its own
 * the next attempt would follow at once.
 */
async function withSandboxBackoff<T>(
  { execute: { sandboxBackoff }, clock }: PodTools,
  work: PodWork,
  actions: readonly PodAction[],
  run: () => Promise<T>,
): Promise<T | KeyDelay> {
  const uid = work.pod.metadata.uid ?? '';
  const failedMs = work.sandboxFailedAtMs;
  if (failedMs !== undefined && actions.some(({ type }) => type === 'createSandbox')) {
    const delay = sandboxBackoff.waiting(uid, failedMs);
    if (delay !== undefined) return delay;
  }
  try {
    const result = await run();
    sandboxBackoff.reset(uid);
    work.sandboxFailedAtMs = undefined;
    return result;
  } catch (error) {
    if (error instanceof SandboxError) {
      work.sandboxFailedAtMs = clock.now();
      sandboxBackoff.advance(uid, work.sandboxFailedAtMs);
    }
    throw error;
  }
}

/** Runs one step. Throws when it has to be tried again. */
export async function syncPod(tools: PodTools, work: PodWork, signal: AbortSignal): Promise<SyncResult> {
  const { pod } = work;
  const { name, namespace = '', uid = '' } = pod.metadata;
  const { execute } = tools;
  const observed = tools.cache.get(uid) ?? emptyPodRuntime(uid, name, namespace);
  const status = reportStatus(tools, work, observed);
  if (isPodTerminal({ status })) return { requeueAfterMs: 0, finished: true };

  const deadlineMs = deadlineInMs(pod, tools.statuses.get(uid)?.startTime, tools.clock.now());
  if (deadlineMs !== undefined && deadlineMs <= 0) {
    const message = 'Pod was active on the node longer than the specified deadline';
    execute.record(pod, 'Normal', 'DeadlineExceeded', message);
    work.ended = { phase: 'Failed', reason: 'DeadlineExceeded', message };
    return { requeueAfterMs: 0, finished: true };
  }

  const problem = usesHostNetwork(pod) ? undefined : tools.networkProblem();
  if (problem !== undefined) {
    const error = new Error(`network is not ready: ${problem}`);
    execute.record(pod, 'Warning', 'NetworkNotReady', error.message);
    execute.steps.failed(uid, { step: 'sandbox' }, error);
    throw error;
  }
  await prepareClaims(tools, work, signal);
  await prepareNode(tools, work);
  const volumes = await execute.steps
    .run(uid, { step: 'volume' }, () => tools.volumes.prepare(pod, signal))
    .catch((error: unknown) => {
      if (error instanceof VolumeError && !signal.aborted) return undefined;
      throw error;
    });
  if (volumes === undefined) return { requeueAfterMs: volumeRetryMs(tools, uid), finished: false };
  const actions = planPodActions({
    pod,
    observed,
    probes: tools.probes.verdicts,
    actuated: tools.allocation.actuated(pod),
    deadKept: tools.deadKept ?? 1,
    restartDelay: (container, finishedAtMs) => execute.backoff.waiting(backoffKey(pod, container), finishedAtMs),
  });
  let requeueAfterMs = tools.syncFrequencyMs;
  if (deadlineMs !== undefined) requeueAfterMs = Math.min(requeueAfterMs, deadlineMs);
  if (actions.length === 0) {
    work.waiting = new Map();
    if (settleResize(tools, pod, observed)) reportStatus(tools, work, observed);
    await removeOldSandboxes(tools, observed, signal);
    return { requeueAfterMs, finished: false };
  }

  const cgroupParent = tools.cgroups.parentOf(pod);
  const sandboxReady = () => reportSandboxReady(tools, work);
  const target = { pod, observed, cgroupParent, volumes, sandboxReady };
  const result = await withSandboxBackoff(tools, work, actions, () =>
    executePodActions(execute, target, actions, signal),
  );
  if ('untilMs' in result) {
    return { requeueAfterMs: Math.min(requeueAfterMs, result.untilMs - tools.clock.now()), finished: false };
  }
  work.waiting = result.waiting;
  // Waiting alone changes nothing in the runtime.
  const acted = actions.some((action) => action.type !== 'backOff');
  const after = acted ? await tools.cache.refresh(uid, signal) : observed;
  if (after !== undefined) settleResize(tools, pod, after);
  reportStatus(tools, work, after ?? emptyPodRuntime(uid, name, namespace));
  if (result.retryAfterMs !== undefined) requeueAfterMs = Math.min(requeueAfterMs, Math.max(result.retryAfterMs, 0));
  return { requeueAfterMs, finished: false };
}
