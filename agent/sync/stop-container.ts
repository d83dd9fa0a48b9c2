// Stops containers within their grace period: the preStop hook first, then the stop signal, then the kill
// (pkg/kubelet/kuberuntime/kuberuntime_container.go: killContainer).
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import { findContainer } from '../container/pod-containers.ts';
import { isCriNotFound } from '../cri/cri-error.ts';
import type { RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import type { RecordPodEvent } from './pod-events.ts';
import { type HookTools, runHook } from './run-hook.ts';

const minimumGraceSeconds = 2;
const defaultGraceSeconds = 30;

/** What stopping containers needs. */
export interface StopTools extends HookTools {
  record: RecordPodEvent;
  logger: Logger;
}

/** Why and how fast. */
export interface StopRequest {
  message: string;
  graceSeconds: number;
  /** Address for HTTP hooks. */
  podIp: string | undefined;
  /** No preStop hook. */
  abrupt?: boolean;
  /** Resolved when the container may get its signal: those that have to stop before it have stopped. */
  turn?: Promise<unknown>;
}

/** The grace period of a pod's containers: the one of its deletion, else its own. */
export function graceSecondsOf(pod: Pod, override?: number): number {
  return (
    override ?? pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? defaultGraceSeconds
  );
}

/** Waits for `work`, at most so long. Returns false when the time ran out. */
async function within(clock: Clock, work: Promise<unknown>, limitMs: number, signal: AbortSignal): Promise<boolean> {
  const done = new AbortController();
  const limit = clock.sleep(limitMs, AbortSignal.any([signal, done.signal])).then(
    () => false,
    () => true,
  );
  try {
    return await Promise.race([work.then(() => true), limit]);
  } finally {
    done.abort();
  }
}

/** Runs the hook to its end or to the end of the grace period, whichever comes first. */
async function runPreStop(
  tools: StopTools,
  pod: Pod,
  target: RuntimeContainer,
  request: StopRequest,
  signal: AbortSignal,
): Promise<void> {
  const container = findContainer(pod, target.name)?.container;
  const preStop = container === undefined ? target.facts.preStop : container.lifecycle?.preStop;
  if (preStop === undefined || request.graceSeconds <= 0 || request.abrupt === true) return;
  const cut = new AbortController();
  const limit = AbortSignal.any([signal, cut.signal]);
  const host = request.podIp ?? '127.0.0.1';
  const named = container ?? { name: target.name };
  const hook = runHook(tools, preStop, { container: named, containerId: target.id, host }, limit).catch(
    (error: unknown) => {
      if (limit.aborted) return;
      tools.record(pod, 'Warning', 'FailedPreStopHook', 'PreStopHook failed', target.name);
      tools.logger.warn({ err: error, container: target.name }, 'preStop hook failed');
    },
  );
  const inTime = await within(tools.clock, hook, request.graceSeconds * 1000, signal);
  signal.throwIfAborted();
  if (inTime) return;
  cut.abort(new Error('the grace period is over'));
  tools.logger.warn({ container: target.name }, 'preStop hook did not end in the grace period');
}

/** Stops one container. One that is gone already is stopped. */
export async function stopContainer(
  tools: StopTools,
  pod: Pod,
  target: RuntimeContainer,
  request: StopRequest,
  signal: AbortSignal,
): Promise<void> {
  const startedMs = tools.clock.monotonicMs();
  const leftSeconds = () => request.graceSeconds - Math.floor((tools.clock.monotonicMs() - startedMs) / 1000);
  tools.record(pod, 'Normal', 'Killing', request.message, target.name);
  await runPreStop(tools, pod, target, request, signal);
  if (request.turn !== undefined && leftSeconds() > 0) {
    await within(tools.clock, request.turn, leftSeconds() * 1000, signal);
    signal.throwIfAborted();
  }
  try {
    await tools.runtime.stopContainer(target.id, Math.max(leftSeconds(), minimumGraceSeconds), signal);
  } catch (error) {
    signal.throwIfAborted();
    if (!isCriNotFound(error)) throw error;
  }
}

/** Containers in the order they stop: all but sidecars together, then each sidecar, the last started first. */
export function planStopOrder(pod: Pod, targets: readonly RuntimeContainer[]): RuntimeContainer[][] {
  const sidecars = (pod.spec.initContainers ?? []).filter(isSidecar).map(({ name }) => name);
  const together = targets.filter(({ name }) => !sidecars.includes(name));
  const one = sidecars.reverse().map((name) => targets.filter((target) => target.name === name));
  return [together, ...one].filter((group) => group.length > 0);
}

/**
 * Stops several containers of a pod within one grace period. All preStop hooks run at once; the stop signals go out in
 * order, each group's when the groups before it have stopped or the grace period is over.
 */
export async function stopContainers(
  tools: StopTools,
  pod: Pod,
  targets: readonly RuntimeContainer[],
  request: Omit<StopRequest, 'message' | 'turn'>,
  signal: AbortSignal,
): Promise<void> {
  const stops: Promise<void>[] = [];
  for (const group of planStopOrder(pod, targets)) {
    const turn = stops.length === 0 ? undefined : Promise.allSettled([...stops]);
    for (const target of group) {
      const own = { ...request, message: `Stopping container ${target.name}`, ...(turn === undefined ? {} : { turn }) };
      stops.push(stopContainer(tools, pod, target, own, signal));
    }
  }
  const failed = (await Promise.allSettled(stops)).find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
}
