// Stops containers within their grace period: the preStop hook first, then the stop signal, then the kill
// (pkg/kubelet/kuberuntime/kuberuntime_container.go: killContainer).
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
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
}

/** The grace period of a pod's containers: the one of its deletion, else its own. */
export function graceSecondsOf(pod: Pod, override?: number): number {
  return (
    override ?? pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? defaultGraceSeconds
  );
}

async function runPreStop(
  tools: StopTools,
  pod: Pod,
  target: RuntimeContainer,
  request: StopRequest,
  signal: AbortSignal,
): Promise<void> {
  const container = findContainer(pod, target.name)?.container;
  const preStop = container === undefined ? target.facts.preStop : container.lifecycle?.preStop;
  if (preStop === undefined || request.graceSeconds <= 0) return;
  const limit = AbortSignal.any([signal, AbortSignal.timeout(request.graceSeconds * 1000)]);
  const host = request.podIp ?? '127.0.0.1';
  try {
    const named = container ?? { name: target.name };
    await runHook(tools, preStop, { container: named, containerId: target.id, host }, limit);
  } catch (error) {
    signal.throwIfAborted();
    tools.record(pod, 'Warning', 'FailedPreStopHook', 'PreStopHook failed', target.name);
    tools.logger.warn({ err: error, container: target.name }, 'preStop hook failed');
  }
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
  tools.record(pod, 'Normal', 'Killing', request.message, target.name);
  await runPreStop(tools, pod, target, request, signal);
  const elapsedSeconds = Math.floor((tools.clock.monotonicMs() - startedMs) / 1000);
  const timeout = Math.max(request.graceSeconds - elapsedSeconds, minimumGraceSeconds);
  try {
    await tools.runtime.stopContainer(target.id, timeout, signal);
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

/** Stops several containers of a pod, in order, within one grace period. */
export async function stopContainers(
  tools: StopTools,
  pod: Pod,
  targets: readonly RuntimeContainer[],
  request: Omit<StopRequest, 'message'>,
  signal: AbortSignal,
): Promise<void> {
  const startedMs = tools.clock.monotonicMs();
  for (const group of planStopOrder(pod, targets)) {
    const elapsedSeconds = Math.floor((tools.clock.monotonicMs() - startedMs) / 1000);
    const graceSeconds = Math.max(request.graceSeconds - elapsedSeconds, 0);
    const results = await Promise.allSettled(
      group.map((target) =>
        stopContainer(
          tools,
          pod,
          target,
          { ...request, graceSeconds, message: `Stopping container ${target.name}` },
          signal,
        ),
      ),
    );
    const failed = results.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }
}
