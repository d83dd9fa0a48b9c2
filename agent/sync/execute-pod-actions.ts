// Does what the planner decided, in its order, and says how each container that did not start is waiting.
import { join } from 'node:path';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { containerHash } from '../container/container-hash.ts';
import { computeDnsConfig } from '../container/dns-config.ts';
import { formatPod, usesHostNetwork } from '../container/pod-containers.ts';
import { removeRunLog } from '../container/remove-log.ts';
import { restartCountOfLogs } from '../container/restart-count-of-logs.ts';
import { type SandboxSettings, sandboxConfig } from '../container/sandbox-config.ts';
import type { UserNamespaces } from '../container/user-namespaces.ts';
import { isCriNotFound } from '../cri/cri-error.ts';
import {
  isAlive,
  latestContainer,
  liveContainers,
  type PodRuntime,
  podIps,
  type RuntimeContainer,
} from '../runtime-cache/pod-runtime.ts';
import type { WaitingReason } from '../status/compute-container-statuses.ts';
import type { PreparedVolume } from '../volume/volume-manager.ts';
import { createWithFreeName } from './create-with-free-name.ts';
import type { KeyBackoff } from './key-backoff.ts';
import { selectSandbox } from './plan-pod-actions.ts';
import type { PodAction } from './pod-action.ts';
import { type ResizeTools, resizePod } from './resize-pod.ts';
import { StartError, type StartTools, startContainer } from './start-container.ts';
import { graceSecondsOf, type StopTools, stopContainer, stopContainers } from './stop-container.ts';

/** After a container could not be started, the pod is looked at again. */
const startRetryMs = 10_000;

/** What the executor needs of the node. */
export interface ExecuteTools extends StartTools, StopTools, ResizeTools {
  sandbox: SandboxSettings;
  /** Of containers that ended, of images that could not be pulled, of sandboxes that could not be made. */
  backoff: KeyBackoff;
  imageBackoff: KeyBackoff;
  sandboxBackoff: KeyBackoff;
  refresh(uid: string, signal: AbortSignal): Promise<PodRuntime | undefined>;
  runtimeHandler(pod: Pod): Promise<string>;
  userNamespaces: UserNamespaces;
}

/** The pod as it is before the actions. */
export interface ExecuteTarget {
  pod: Pod;
  observed: PodRuntime;
  cgroupParent: string;
  volumes: ReadonlyMap<string, PreparedVolume>;
  /** A new sandbox is ready; containers have not started. */
  sandboxReady: (observed: PodRuntime) => void;
}

/** How it went. */
export interface ExecuteResult {
  waiting: Map<string, WaitingReason>;
  /** When to look again at the latest, in milliseconds. */
  retryAfterMs: number | undefined;
}

/** The sandbox could not be made; the pod waits as a whole. */
export class SandboxError extends Error {
  readonly code = 'SANDBOX';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SandboxError';
  }
}

/** A container's key in the restart backoff. */
export function backoffKey(pod: Pod, container: Container): string {
  const { name, namespace, uid } = pod.metadata;
  return `${uid}_${name}_${namespace}_${container.name}_${containerHash(container)}`;
}

/** Stops all that runs of a pod: containers in order, then its sandboxes. */
export async function killPod(
  tools: ExecuteTools,
  pod: Pod,
  observed: PodRuntime,
  graceSeconds: number,
  signal: AbortSignal,
): Promise<void> {
  const podIp = podIps(observed)[0];
  await stopContainers(tools, pod, liveContainers(observed), { graceSeconds, podIp }, signal);
  for (const sandbox of observed.sandboxes) {
    if (sandbox.ready) await tools.runtime.stopPodSandbox(sandbox.id, signal);
  }
}

/** Sandboxes that ended with their machine keep their addresses until they are stopped. */
async function releaseSandboxes(tools: ExecuteTools, observed: PodRuntime, signal: AbortSignal): Promise<void> {
  for (const { id, ready } of observed.sandboxes) {
    if (!ready) await tools.runtime.stopPodSandbox(id, signal);
  }
}

async function createSandbox(
  tools: ExecuteTools,
  target: ExecuteTarget,
  attempt: number,
  signal: AbortSignal,
): Promise<PodRuntime> {
  const { pod } = target;
  const fail = (error: unknown): never => {
    signal.throwIfAborted();
    const message = `Failed to create pod sandbox: ${(error as Error).message}`;
    tools.record(pod, 'Warning', 'FailedCreatePodSandBox', message);
    throw new SandboxError(message, { cause: error });
  };
  try {
    for (const { reason, message } of computeDnsConfig(pod, tools.sandbox.dns).warnings) {
      tools.record(pod, 'Warning', reason, message);
    }
    const handler = await tools.runtimeHandler(pod);
    const users = await tools.userNamespaces.of(pod, handler);
    await createWithFreeName(
      attempt,
      (number) => {
        const config = sandboxConfig(pod, number, target.cgroupParent, tools.sandbox, users);
        return tools.runtime.runPodSandbox(config, handler, signal);
      },
      (id) => tools.runtime.removePodSandbox(id, signal),
    );
  } catch (error) {
    return fail(error);
  }
  const observed = await tools.refresh(pod.metadata.uid ?? '', signal);
  if (observed === undefined || selectSandbox(pod, observed).current === undefined) {
    return fail(new Error('the sandbox is not ready after its creation'));
  }
  return observed;
}

async function removeContainer(tools: ExecuteTools, target: RuntimeContainer, signal: AbortSignal): Promise<void> {
  await tools.runtime.removeContainer(target.id, signal).catch((error: unknown) => {
    if (!isCriNotFound(error)) throw error;
  });
}

/** Executes the actions. Throws SandboxError, or what made it impossible to go on. */
export async function executePodActions(
  tools: ExecuteTools,
  target: ExecuteTarget,
  actions: readonly PodAction[],
  signal: AbortSignal,
): Promise<ExecuteResult> {
  const { pod } = target;
  let { observed } = target;
  const waiting = new Map<string, WaitingReason>();
  let retryAfterMs: number | undefined;
  const retryWithin = (ms: number | undefined) => {
    if (ms !== undefined) retryAfterMs = Math.min(retryAfterMs ?? ms, ms);
  };

  async function start(action: Extract<PodAction, { type: 'startContainer' }>): Promise<void> {
    const { container, kind } = action;
    const sandbox = selectSandbox(pod, observed).current;
    if (sandbox === undefined) throw new SandboxError(`pod ${pod.metadata.name} has no sandbox to start containers in`);
    const ended = observed.containers.find((item) => item.name === container.name && item.state === 'exited');
    if (ended !== undefined) tools.backoff.advance(backoffKey(pod, container), ended.finishedAtMs);
    const ephemeral = pod.spec.ephemeralContainers?.find((item) => item.name === container.name);
    const targetName = ephemeral?.targetContainerName;
    const targetId = targetName === undefined ? undefined : latestContainer(observed, targetName)?.id;
    const users =
      pod.spec.hostUsers === false ? await tools.userNamespaces.of(pod, await tools.runtimeHandler(pod)) : undefined;
    const place = {
      pod,
      users,
      sandboxId: sandbox.id,
      sandboxConfig: sandboxConfig(pod, sandbox.attempt, target.cgroupParent, tools.sandbox, users),
      podIps: usesHostNetwork(pod) ? tools.downward(pod, []).hostIps : sandbox.ips,
      volumes: target.volumes,
    };
    const isForgotten = observed.containers.every((item) => item.name !== container.name);
    const logs = join(place.sandboxConfig.logDirectory ?? '', container.name);
    const restartCount = isForgotten ? await restartCountOfLogs(logs) : action.restartCount;
    try {
      await startContainer(tools, place, { kind, container, restartCount, targetId }, signal);
      if (kind !== 'ephemeral') tools.allocation.started(pod, container);
    } catch (error) {
      if (!(error instanceof StartError)) throw error;
      waiting.set(container.name, { reason: error.reason, message: error.message });
      retryWithin(error.retryAfterMs ?? startRetryMs);
      tools.logger.warn({ err: error, container: container.name }, 'container did not start');
      if (error.startedId !== undefined) {
        tools.record(pod, 'Normal', 'Killing', 'FailedPostStartHook', container.name);
        await tools.runtime.stopContainer(error.startedId, graceSecondsOf(pod), signal);
      }
    }
  }

  for (const action of actions) {
    signal.throwIfAborted();
    switch (action.type) {
      case 'killPod':
        if (action.reason === 'SandboxChanged') {
          const message = 'Pod sandbox changed, it will be killed and re-created.';
          tools.record(pod, 'Normal', 'SandboxChanged', message);
        }
        if (isAlive(observed)) await killPod(tools, pod, observed, graceSecondsOf(pod), signal);
        if (action.reason === 'SandboxChanged') await releaseSandboxes(tools, observed, signal);
        break;
      case 'createSandbox':
        observed = await tools.steps.run(pod.metadata.uid ?? '', { step: 'sandbox' }, () =>
          createSandbox(tools, target, action.attempt, signal),
        );
        target.sandboxReady(observed);
        break;
      case 'killContainer': {
        const graceSeconds = graceSecondsOf(pod, action.gracePeriodSeconds);
        const request = { message: action.message, graceSeconds, podIp: podIps(observed)[0] };
        await stopContainer(tools, pod, action.target, request, signal);
        break;
      }
      case 'removeContainer':
        await removeContainer(tools, action.target, signal);
        await removeRunLog(action.target.logPath);
        break;
      case 'restartAll': {
        const request = { graceSeconds: graceSecondsOf(pod), podIp: podIps(observed)[0], abrupt: true };
        await stopContainers(tools, pod, action.stop, request, signal);
        for (const target of action.remove) await removeContainer(tools, target, signal);
        retryWithin(0);
        break;
      }
      case 'resizePod':
        retryWithin(await resizePod(tools, pod, action.updates, signal));
        break;
      case 'startContainer':
        await start(action);
        break;
      case 'backOff': {
        const { name } = action.container;
        const message = `Back-off restarting failed container ${name} in pod ${formatPod(pod)}`;
        tools.record(pod, 'Warning', 'BackOff', message, name);
        const delay = `${formatSeconds(action.delayMs)}`;
        waiting.set(name, {
          reason: 'CrashLoopBackOff',
          message: `back-off ${delay} restarting failed container=${name} pod=${formatPod(pod)}`,
        });
        retryWithin(action.untilMs - tools.clock.now());
        break;
      }
      default:
        action satisfies never;
    }
  }
  return { waiting, retryAfterMs };
}

/** As Go prints whole seconds: 10s, 1m20s, 5m0s. */
function formatSeconds(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}
