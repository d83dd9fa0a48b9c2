// What to do about a container that runs: leave it, or replace it because it changed or a probe failed. Pure.
import type { Container, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { containerHash } from '../container/container-hash.ts';
import type { ContainerKind } from '../container/pod-containers.ts';
import type { RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import { planContainerResize } from './plan-resize.ts';
import { planStart } from './plan-start.ts';
import type { PlanInputs, PodAction } from './pod-action.ts';
import { restartPolicyOf } from './restart-policy.ts';

type Kill = Extract<PodAction, { type: 'killContainer' }>;

function verdict({ probes }: PlanInputs, container: Container, target: RuntimeContainer): Kill | undefined {
  const { name } = container;
  if (target.facts.hash !== '' && target.facts.hash !== containerHash(container)) {
    const message = `Container ${name} definition changed`;
    return { type: 'killContainer', target, reason: 'ContainerChanged', message, gracePeriodSeconds: undefined };
  }
  if (container.livenessProbe !== undefined && probes.liveness(target.id) === 'failure') {
    const gracePeriodSeconds = container.livenessProbe.terminationGracePeriodSeconds;
    const message = `Container ${name} failed liveness probe`;
    return { type: 'killContainer', target, reason: 'LivenessFailed', message, gracePeriodSeconds };
  }
  if (container.startupProbe !== undefined && probes.startup(target.id) === 'failure') {
    const gracePeriodSeconds = container.startupProbe.terminationGracePeriodSeconds;
    const message = `Container ${name} failed startup probe`;
    return { type: 'killContainer', target, reason: 'StartupFailed', message, gracePeriodSeconds };
  }
  return undefined;
}

/** The resources that the container was last given; undefined where they are not known. */
export function actuatedResources({ actuated }: PlanInputs, name: string): ResourceRequirements | undefined {
  if (actuated === undefined) return undefined;
  const container = [...(actuated.spec.initContainers ?? []), ...actuated.spec.containers].find(
    (item) => item.name === name,
  );
  return container?.resources;
}

/** A resize that this container's policy does not allow without a restart. */
function resizeRestart(inputs: PlanInputs, container: Container, target: RuntimeContainer): Kill | undefined {
  const before = actuatedResources(inputs, container.name);
  if (before === undefined || !planContainerResize(container, target, before).restart) return undefined;
  const message = `Container ${container.name} resize requires restart`;
  return { type: 'killContainer', target, reason: 'ResizeRestart', message, gracePeriodSeconds: undefined };
}

/** An empty list: leave it running. */
export function planRunningContainer(
  inputs: PlanInputs,
  kind: ContainerKind,
  container: Container,
  target: RuntimeContainer,
): PodAction[] {
  const kill = verdict(inputs, container, target);
  if (kill === undefined) {
    const resize = resizeRestart(inputs, container, target);
    return resize === undefined ? [] : [resize, planStart(inputs, kind, container)];
  }
  const restarts =
    kill.reason === 'ContainerChanged' || isSidecar(container) || restartPolicyOf(inputs.pod, container) !== 'Never';
  if (!restarts) return [kill];
  kill.message += ', will be restarted';
  return [kill, planStart(inputs, kind, container)];
}
