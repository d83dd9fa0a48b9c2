// Decides what has to happen to a pod now: from its definition, what the runtime has, probe verdicts and backoffs to
// a list of actions. Pure. The rules are kubelet's (pkg/kubelet/kuberuntime/kuberuntime_manager.go: computePodActions).
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { asContainer, type ContainerKind, usesHostNetwork } from '../container/pod-containers.ts';
import {
  latestContainer,
  type PodRuntime,
  type RuntimeContainer,
  type RuntimeSandbox,
} from '../runtime-cache/pod-runtime.ts';
import { planInitContainers } from './plan-init-containers.ts';
import { planRunningContainer } from './plan-running-container.ts';
import { shouldRestart } from './restart-policy.ts';

/** What a probe says about a container now. */
export type Verdict = 'success' | 'failure' | 'unknown';

/** The verdicts that decide about restarts and order. */
export interface ProbeVerdicts {
  liveness(containerId: string): Verdict;
  startup(containerId: string): Verdict;
}

/** How long a failed container has to wait before it is started again; undefined: not at all. */
export type RestartDelay = (
  container: Container,
  lastFinishedAtMs: number,
) => { untilMs: number; delayMs: number } | undefined;

export type PodAction =
  /** Stop every container and sandbox of the pod. */
  | { type: 'killPod'; reason: 'SandboxChanged' | 'Completed' }
  | { type: 'createSandbox'; attempt: number }
  | {
      type: 'killContainer';
      target: RuntimeContainer;
      reason: 'ContainerChanged' | 'LivenessFailed' | 'StartupFailed';
      message: string;
      /** Seconds, where a probe sets its own. */
      gracePeriodSeconds: number | undefined;
    }
  | { type: 'removeContainer'; target: RuntimeContainer }
  | { type: 'startContainer'; kind: ContainerKind; container: Container; restartCount: number }
  | { type: 'backOff'; container: Container; untilMs: number; delayMs: number };

/** What the planner looks at. */
export interface PlanInputs {
  pod: Pod;
  observed: PodRuntime;
  probes: ProbeVerdicts;
  restartDelay: RestartDelay;
}

/** The sandbox new containers go into, or the attempt number of the one to create. */
export function selectSandbox(
  pod: Pod,
  observed: PodRuntime,
): { current: RuntimeSandbox } | { current: undefined; attempt: number } {
  const newest = observed.sandboxes[0];
  if (newest === undefined) return { current: undefined, attempt: 0 };
  const readyOnes = observed.sandboxes.filter((sandbox) => sandbox.ready);
  const usable =
    readyOnes.length === 1 &&
    newest.ready &&
    newest.hostNetwork === usesHostNetwork(pod) &&
    (newest.hostNetwork || newest.ips.length > 0);
  return usable ? { current: newest } : { current: undefined, attempt: newest.attempt + 1 };
}

/** How often this container was restarted already, counting the run to come. */
export function nextRestartCount(observed: PodRuntime, name: string): number {
  const latest = latestContainer(observed, name);
  return latest === undefined ? 0 : latest.facts.restartCount + 1;
}

/** A start now, or the wait before it. The wait counts from the end of the last run. */
export function planStart(inputs: PlanInputs, kind: ContainerKind, container: Container): PodAction {
  const { observed, restartDelay } = inputs;
  const lastEnded = observed.containers.find((item) => item.name === container.name && item.state === 'exited');
  const delay = lastEnded === undefined ? undefined : restartDelay(container, lastEnded.finishedAtMs);
  if (delay !== undefined) return { type: 'backOff', container, ...delay };
  return { type: 'startContainer', kind, container, restartCount: nextRestartCount(observed, container.name) };
}

/** Ended runs but the newest of each container. */
function planRemovals(observed: PodRuntime): PodAction[] {
  const seen = new Set<string>();
  const actions: PodAction[] = [];
  for (const target of observed.containers) {
    if (target.state !== 'exited') continue;
    if (seen.has(target.name)) actions.push({ type: 'removeContainer', target });
    seen.add(target.name);
  }
  return actions;
}

function planNewSandbox(inputs: PlanInputs, attempt: number): PodAction[] {
  const { pod, observed } = inputs;
  if (pod.spec.restartPolicy === 'Never' && attempt > 0 && observed.containers.length > 0) {
    return [{ type: 'killPod', reason: 'Completed' }];
  }
  const wanted = pod.spec.containers.filter((container) =>
    shouldRestart(pod, container, latestContainer(observed, container.name), true),
  );
  if (wanted.length === 0) return [{ type: 'killPod', reason: 'Completed' }];
  const actions: PodAction[] = [];
  if (attempt > 0) actions.push({ type: 'killPod', reason: 'SandboxChanged' });
  actions.push({ type: 'createSandbox', attempt });
  const firstInit = pod.spec.initContainers?.[0];
  if (firstInit !== undefined) actions.push(planStart(inputs, 'init', firstInit));
  else for (const container of wanted) actions.push(planStart(inputs, 'regular', container));
  return actions;
}

function planEphemeral({ pod, observed }: PlanInputs): PodAction[] {
  return (pod.spec.ephemeralContainers ?? [])
    .filter((item) => latestContainer(observed, item.name) === undefined)
    .map((item) => ({ type: 'startContainer', kind: 'ephemeral', container: asContainer(item), restartCount: 0 }));
}

function planRegular(inputs: PlanInputs): PodAction[] {
  const { pod, observed } = inputs;
  const actions: PodAction[] = [];
  let kept = 0;
  for (const container of pod.spec.containers) {
    const latest = latestContainer(observed, container.name);
    if (latest?.state === 'running') {
      const change = planRunningContainer(inputs, 'regular', container, latest);
      if (change.length === 0) kept += 1;
      actions.push(...change);
    } else if (shouldRestart(pod, container, latest)) actions.push(planStart(inputs, 'regular', container));
  }
  const finished = kept === 0 && actions.length === 0;
  return finished ? [{ type: 'killPod', reason: 'Completed' }] : actions;
}

/** Plans one pod that is meant to run. An empty list: the pod is as it should be. */
export function planPodActions(inputs: PlanInputs): PodAction[] {
  const { pod, observed } = inputs;
  const removals = planRemovals(observed);
  const sandbox = selectSandbox(pod, observed);
  if (sandbox.current === undefined) return [...removals, ...planNewSandbox(inputs, sandbox.attempt)];
  const ephemeral = planEphemeral(inputs);
  const init = planInitContainers(inputs, sandbox.current);
  if (!init.initialized) return [...removals, ...ephemeral, ...init.actions];
  return [...removals, ...ephemeral, ...init.actions, ...planRegular(inputs)];
}
