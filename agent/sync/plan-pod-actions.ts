// Decides what has to happen to a pod now: from its definition, what the runtime has, probe verdicts and backoffs to
// a list of actions. Pure. The rules are kubelet's (pkg/kubelet/kuberuntime/kuberuntime_manager.go: computePodActions).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { resizableContainers, sameResources } from '../allocation/pod-allocation.ts';
import { asContainer, usesHostNetwork } from '../container/pod-containers.ts';
import {
  latestContainer,
  type PodRuntime,
  type RuntimeContainer,
  type RuntimeSandbox,
} from '../runtime-cache/pod-runtime.ts';
import { planInitContainers } from './plan-init-containers.ts';
import { planContainerResize } from './plan-resize.ts';
import { planRestartAll } from './plan-restart-all.ts';
import { actuatedResources, planRunningContainer } from './plan-running-container.ts';
import { planStart } from './plan-start.ts';
import type { PlanInputs, PodAction } from './pod-action.ts';
import { mayRestart, shouldRestart } from './restart-policy.ts';

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

/** Ended runs but the newest few of each container, and what was created, never started and replaced. */
function planRemovals({ observed, deadKept = 1 }: PlanInputs): PodAction[] {
  const ended = new Map<string, number>();
  const replaced = new Set<string>();
  const actions: PodAction[] = [];
  for (const target of observed.containers) {
    const { name, state } = target;
    const before = ended.get(name) ?? 0;
    const surplus = (state === 'exited' && before >= deadKept) || (state === 'created' && replaced.has(name));
    if (surplus) actions.push({ type: 'removeContainer', target });
    if (state === 'exited') ended.set(name, before + 1);
    replaced.add(name);
  }
  return actions;
}

function planNewSandbox(inputs: PlanInputs, attempt: number): PodAction[] {
  const { pod, observed } = inputs;
  if (!mayRestart(pod) && attempt > 0 && observed.containers.length > 0) {
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

/** A run of which the runtime cannot say whether it runs is stopped before it is replaced. */
function planUnknown(target: RuntimeContainer | undefined): PodAction[] {
  if (target?.state !== 'unknown') return [];
  const message = 'Container is in "unknown" state, try killing it before restart';
  return [{ type: 'killContainer', target, reason: 'Unknown', message, gracePeriodSeconds: undefined }];
}

function planEphemeral({ pod, observed }: PlanInputs): PodAction[] {
  return (pod.spec.ephemeralContainers ?? [])
    .filter((item) => latestContainer(observed, item.name) === undefined)
    .map((item) => ({ type: 'startContainer', kind: 'ephemeral', container: asContainer(item), restartCount: 0 }));
}

/** What of a resize needs no restart. Containers that are about to be stopped are left out. */
function planResizes(inputs: PlanInputs, stopping: readonly PodAction[]): PodAction[] {
  const { pod, observed, actuated } = inputs;
  if (actuated === undefined) return [];
  const killed = stopping.flatMap((action) => (action.type === 'killContainer' ? [action] : []));
  const updates = resizableContainers(pod).flatMap((container) => {
    const target = latestContainer(observed, container.name);
    const before = actuatedResources(inputs, container.name);
    if (target?.state !== 'running' || before === undefined) return [];
    if (killed.some((action) => action.target === target)) return [];
    return planContainerResize(container, target, before).updates;
  });
  const podLevel = !sameResources(pod.spec.resources, actuated.spec.resources);
  const needed = updates.length > 0 || podLevel || killed.some(({ reason }) => reason === 'ResizeRestart');
  return needed ? [{ type: 'resizePod', updates }] : [];
}

function planRegular(inputs: PlanInputs, before: readonly PodAction[]): PodAction[] {
  const { pod, observed } = inputs;
  const kills: PodAction[] = [];
  const starts: PodAction[] = [];
  let kept = 0;
  const add = (planned: readonly PodAction[]) => {
    for (const action of planned) (action.type === 'killContainer' ? kills : starts).push(action);
  };
  for (const container of pod.spec.containers) {
    const latest = latestContainer(observed, container.name);
    if (latest?.state === 'running') {
      const change = planRunningContainer(inputs, 'regular', container, latest);
      if (change.length === 0) kept += 1;
      add(change);
    } else if (shouldRestart(pod, container, latest)) {
      add([...planUnknown(latest), planStart(inputs, 'regular', container)]);
    }
  }
  const finished = kept === 0 && kills.length === 0 && starts.length === 0;
  if (finished) return [{ type: 'killPod', reason: 'Completed' }];
  return [...kills, ...planResizes(inputs, [...before, ...kills]), ...starts];
}

/** Plans one pod that is meant to run. An empty list: the pod is as it should be. */
export function planPodActions(inputs: PlanInputs): PodAction[] {
  const { pod, observed } = inputs;
  const restart = planRestartAll(pod, observed);
  if (restart !== undefined) return [restart];
  const removals = planRemovals(inputs);
  const sandbox = selectSandbox(pod, observed);
  if (sandbox.current === undefined) return [...removals, ...planNewSandbox(inputs, sandbox.attempt)];
  const ephemeral = planEphemeral(inputs);
  const init = planInitContainers(inputs, sandbox.current);
  const first = [...removals, ...ephemeral, ...init.actions];
  if (!init.initialized) return [...first, ...planResizes(inputs, init.actions)];
  return [...first, ...planRegular(inputs, init.actions)];
}
