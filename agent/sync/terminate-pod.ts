// The end of a pod: its containers stop, its final status is told, its volumes and cgroup go, and when its definition
// is gone everything else too (pkg/kubelet/kubelet.go: SyncTerminatingPod, SyncTerminatedPod).
import { rm } from 'node:fs/promises';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import { podLogsDirectory } from '../container/log-paths.ts';
import { isCriNotFound } from '../cri/cri-error.ts';
import { emptyPodRuntime, isAlive, type PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { endPodStatus } from '../status/compute-pod-status.ts';
import { killPod } from './execute-pod-actions.ts';
import type { PodTools, PodWork } from './pod-work.ts';
import { statusOf } from './report-status.ts';
import { graceSecondsOf } from './stop-container.ts';

function observedOf(tools: PodTools, { pod }: PodWork): PodRuntime {
  const { name, namespace = '', uid = '' } = pod.metadata;
  return tools.cache.get(uid) ?? emptyPodRuntime(uid, name, namespace);
}

/** Stops everything of the pod and tells its final status. */
export async function terminatePod(tools: PodTools, work: PodWork, signal: AbortSignal): Promise<void> {
  const { pod } = work;
  const uid = pod.metadata.uid ?? '';
  // A pod that had ended before, as the API server has it, keeps the status it ended with.
  const hadEnded = isPodTerminal(pod);
  // What was under way may have been cut short after it changed something.
  let observed = (await tools.cache.refresh(uid, signal)) ?? observedOf(tools, work);
  if (isAlive(observed)) {
    if (!hadEnded) tools.statuses.set(pod, statusOf(tools, work, observed, false), { mayRun: true });
    tools.probes.stopFailing(uid);
    const graceSeconds = graceSecondsOf(pod, work.goneGraceSeconds ?? work.ended?.graceSeconds);
    await killPod(tools.execute, pod, observed, graceSeconds, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      tools.execute.record(pod, 'Warning', 'FailedKillPod', `error killing pod: ${(error as Error).message}`);
      throw error;
    });
    const left = await tools.cache.refresh(uid, signal);
    if (left !== undefined && isAlive(left)) throw new Error(`pod ${pod.metadata.name} still has running containers`);
    observed = left ?? observedOf(tools, work);
  } else if (!hadEnded && pod.metadata.deletionTimestamp !== undefined) {
    tools.statuses.set(pod, statusOf(tools, work, observed, false), { mayRun: true });
  }
  tools.probes.remove(uid);
  if (!hadEnded) tools.statuses.set(pod, statusOf(tools, work, observed, true), { mayRun: false });
}

/** Tells that a pod whose containers are gone has ended, whatever became of them. */
function reportEnd(tools: PodTools, { pod }: PodWork): void {
  const status = tools.statuses.get(pod.metadata.uid ?? '');
  if (status !== undefined) tools.statuses.set(pod, endPodStatus(pod, status), { mayRun: false });
}

/** Of one pod. */
const unprepareMs = 60_000;

/** Frees what a pod without containers still holds on the node. */
export async function finishPod(tools: PodTools, work: PodWork): Promise<void> {
  const uid = work.pod.metadata.uid ?? '';
  await tools.claims?.unprepare(uid, AbortSignal.timeout(unprepareMs));
  await tools.volumes.teardown(uid);
  reportEnd(tools, work);
  await tools.cgroups.removePod(uid);
  tools.release(uid);
  tools.execute.backoff.forget(`${uid}_`);
  tools.execute.imageBackoff.forget(`${uid}_`);
  tools.execute.sandboxBackoff.reset(uid);
  tools.statuses.finish(work.pod);
}

async function ignoreMissing(call: Promise<void>): Promise<void> {
  await call.catch((error: unknown) => {
    if (!isCriNotFound(error)) throw error;
  });
}

/** Removes the containers, sandboxes, logs and files of a pod that is no longer wanted. */
export async function removePod(tools: PodTools, work: PodWork, signal: AbortSignal): Promise<void> {
  const { name, namespace = '', uid = '' } = work.pod.metadata;
  const { runtime } = tools.execute;
  const observed = observedOf(tools, work);
  for (const { id } of observed.containers) await ignoreMissing(runtime.removeContainer(id, signal));
  for (const { id } of observed.sandboxes) {
    await ignoreMissing(runtime.stopPodSandbox(id, signal));
    await ignoreMissing(runtime.removePodSandbox(id, signal));
  }
  await tools.volumes.removeDirectory(uid);
  tools.execute.userNamespaces.release(uid);
  await rm(podLogsDirectory(tools.podLogsDir, namespace, name, uid), { recursive: true, force: true });
  await tools.cache.refresh(uid, signal);
  tools.statuses.forget(uid);
  tools.allocation.forget(uid);
}
