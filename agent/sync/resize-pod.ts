// Carries out a resize of a running pod: the limits of its cgroup and of its containers, in an order in which the pod
// never has less than its containers.
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { AllocationManager } from '../allocation/allocation-manager.ts';
import { resizableContainers, sameResources } from '../allocation/pod-allocation.ts';
import type { CgroupManager } from '../cgroup/cgroup-manager.ts';
import type { ContainerSettings } from '../container/container-config.ts';
import { containerResources } from '../container/container-resources.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { latestContainer, type PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { memoryProblem, planPodResize, type ResizeStep } from './plan-pod-resize.ts';
import { type ContainerUpdate, planContainerResize } from './plan-resize.ts';

/** After a resize that did not work. */
const retryMs = 10_000;

/** What resizing needs of the node. */
export interface ResizeTools {
  runtime: RuntimeService;
  cgroups: CgroupManager;
  allocation: AllocationManager;
  container: ContainerSettings;
  logger: Logger;
}

type List = Readonly<Record<string, string>> | undefined;

function replaced(before: List, after: List, resource: string): Record<string, string> {
  const { [resource]: _before, ...rest } = before ?? {};
  const value = after?.[resource];
  return value === undefined ? rest : { ...rest, [resource]: value };
}

/** The container with the one resource as it gets it, and the others as it has them. */
function withOne({ container, before, after, resource }: ContainerUpdate) {
  const requests = replaced(before.requests, after.requests, resource);
  const limits = replaced(before.limits, after.limits, resource);
  return { ...container, resources: { ...after, requests, limits } };
}

/** Limits below what is used already would only make the kernel kill. */
async function check(tools: ResizeTools, pod: Pod, updates: readonly ContainerUpdate[]): Promise<void> {
  for (const { resource, direction, target, container, after } of updates) {
    if (resource !== 'memory' || direction !== 'decrease') continue;
    const limitBytes = quantityValue(after.limits?.['memory']);
    const usageBytes = await tools.cgroups.containerMemory(pod, target.id);
    const problem = memoryProblem(`container "${container.name}"`, usageBytes, limitBytes);
    if (problem !== undefined) throw new Error(problem);
  }
}

async function stepsOf(tools: ResizeTools, pod: Pod, updates: readonly ContainerUpdate[]): Promise<ResizeStep[]> {
  await check(tools, pod, updates);
  const cgroup = await tools.cgroups.readPod(pod);
  if (cgroup === undefined) return updates.map((update) => ({ type: 'container', update }));
  const { current, target } = cgroup;
  if (target.memoryBytes !== undefined && target.memoryBytes < current.memoryBytes) {
    const problem = memoryProblem('pod', current.memoryUsageBytes, target.memoryBytes);
    if (problem !== undefined) throw new Error(problem);
  }
  return planPodResize(current, target, updates);
}

async function carryOut(
  tools: ResizeTools,
  pod: Pod,
  updates: readonly ContainerUpdate[],
  signal: AbortSignal,
): Promise<void> {
  const steps = await stepsOf(tools, pod, updates);
  await tools.allocation.saved();
  const done = new Map<string, ContainerUpdate['before']>();
  for (const step of steps) {
    signal.throwIfAborted();
    if (step.type === 'pod') {
      await tools.cgroups.setPod(pod, step.limits);
      continue;
    }
    const { update } = step;
    const { name } = update.container;
    const container = withOne({ ...update, before: done.get(name) ?? update.before });
    const resources = containerResources(pod, container, tools.container.resources);
    await tools.runtime.updateContainerResources(update.target.id, resources, signal);
    done.set(name, container.resources);
    tools.allocation.started(pod, container);
  }
  tools.allocation.podResized(pod);
}

/** Returns after how many milliseconds to try again, where it did not work; the pod's condition says why. */
export async function resizePod(
  tools: ResizeTools,
  pod: Pod,
  updates: readonly ContainerUpdate[],
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    await carryOut(tools, pod, updates, signal);
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    tools.logger.warn({ err: error }, 'the pod could not be resized');
    tools.allocation.failed(pod, (error as Error).message);
    return retryMs;
  }
}

/**
 * Notes what needs nothing of the runtime (memory requests, amounts too small to differ) and whether the pod now has
 * all it was given. True when there is news for its status.
 */
export function settleResize({ allocation }: Pick<ResizeTools, 'allocation'>, pod: Pod, observed: PodRuntime): boolean {
  const before = allocation.actuated(pod);
  let news = false;
  let settled = sameResources(pod.spec.resources, before.spec.resources);
  const had = resizableContainers(before);
  for (const container of resizableContainers(pod)) {
    const target = latestContainer(observed, container.name);
    const own = had.find(({ name }) => name === container.name)?.resources ?? {};
    if (target?.state !== 'running' || sameResources(own, container.resources)) continue;
    const { restart, updates } = planContainerResize(container, target, own);
    if (restart || updates.length > 0) settled = false;
    else {
      allocation.started(pod, container);
      news = true;
    }
  }
  if (!settled) allocation.unsettled(pod);
  else if (allocation.settled(pod)) news = true;
  return news;
}
