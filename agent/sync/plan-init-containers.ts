// The order of init containers: each waits for the one before, sidecars stay and are kept running. Pure.
import type { Container } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { RuntimeContainer, RuntimeSandbox } from '../runtime-cache/pod-runtime.ts';
import { planRunningContainer } from './plan-running-container.ts';
import { planStart } from './plan-start.ts';
import type { PlanInputs, PodAction } from './pod-action.ts';
import { restartsAfterExit } from './restart-policy.ts';

/** What init containers need now, and whether the ordinary containers may run. */
export interface InitPlan {
  initialized: boolean;
  actions: PodAction[];
}

/** A step of the order: done, or something to wait for. */
interface Step {
  done: boolean;
  actions: PodAction[];
}

function planSidecar(inputs: PlanInputs, container: Container, latest: RuntimeContainer | undefined): Step {
  if (latest?.state !== 'running') return { done: false, actions: [planStart(inputs, 'init', container)] };
  const change = planRunningContainer(inputs, 'init', container, latest);
  if (change.length > 0) return { done: false, actions: change };
  const started = container.startupProbe === undefined || inputs.probes.startup(latest.id) === 'success';
  return { done: started, actions: [] };
}

function planOrdinary(inputs: PlanInputs, container: Container, latest: RuntimeContainer | undefined): Step {
  if (latest?.state === 'running') return { done: false, actions: [] };
  if (latest?.state === 'exited') {
    if (latest.exitCode === 0) return { done: true, actions: [] };
    // The pod has failed; its phase says so, and the worker ends it.
    if (!restartsAfterExit(inputs.pod, container, latest.exitCode)) return { done: false, actions: [] };
  }
  return { done: false, actions: [planStart(inputs, 'init', container)] };
}

/** Plans the init containers of a pod whose sandbox is ready. Runs in an older sandbox do not count. */
export function planInitContainers(inputs: PlanInputs, sandbox: RuntimeSandbox): InitPlan {
  const { pod, observed } = inputs;
  const here = observed.containers.filter((container) => container.sandboxId === sandbox.id);
  const latest = (name: string) => here.find((container) => container.name === name);
  const wasInitialized = pod.spec.containers.some(({ name }) => latest(name) !== undefined);
  const actions: PodAction[] = [];
  const containers = pod.spec.initContainers ?? [];
  for (const [index, container] of containers.entries()) {
    if (wasInitialized && !isSidecar(container)) continue;
    const plan = isSidecar(container) ? planSidecar : planOrdinary;
    const step = plan(inputs, container, latest(container.name));
    actions.push(...step.actions);
    // A sidecar that had started, since another container followed it, is only kept running.
    const wasPassed =
      isSidecar(container) && containers.slice(index + 1).some(({ name }) => latest(name) !== undefined);
    if (!step.done && !wasInitialized && !wasPassed) return { initialized: false, actions };
  }
  return { initialized: true, actions };
}
