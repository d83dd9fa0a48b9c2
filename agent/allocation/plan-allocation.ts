// Whether the node can give a running pod what its changed definition asks for (pkg/kubelet/allocation). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { amountsOf, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { lackingResource } from '../sync/admit-pod.ts';
import { resizableContainers } from './pod-allocation.ts';

/** Why a resize waits: Infeasible never can be, Deferred can be once others have gone. */
export interface PendingResize {
  reason: 'Deferred' | 'Infeasible';
  message: string;
}

/** What the node looks like. */
export interface AllocationInputs {
  /** The pod with the resources it asks for. */
  wanted: Pod;
  allocatable: ResourceAmounts;
  /** All other pods, with what they were given. */
  others: readonly Pod[];
  /** The pod with what it was given. */
  given?: Pod;
  /** What single processors or nodes are given for: in guaranteed pods that does not change. */
  pinned?: PinnedResources;
}

/** Which resources are given out piece by piece: by the CPU manager and the memory manager with their static policies. */
export interface PinnedResources {
  cpu: boolean;
  memory: boolean;
}

function changes(given: Pod, wanted: Pod, resource: string): boolean {
  return resizableContainers(wanted).some((container) => {
    const before = resizableContainers(given).find(({ name }) => name === container.name);
    const [own, other] = [container, before].map((item) => amountsOf(item?.resources?.requests).get(resource));
    return own !== other;
  });
}

function pinnedProblem({ wanted, given, pinned }: AllocationInputs): string | undefined {
  if (given === undefined || pinned === undefined || qosClassOf(wanted) !== 'Guaranteed') return undefined;
  const text = 'Resize is infeasible for Guaranteed Pods alongside';
  if (pinned.cpu && changes(given, wanted, 'cpu')) return `${text} CPU Manager policy "static"`;
  return pinned.memory && changes(given, wanted, 'memory') ? `${text} Memory Manager policy "Static"` : undefined;
}

/** Undefined when the pod can have what it asks for. */
export function planAllocation(inputs: AllocationInputs): PendingResize | undefined {
  const { wanted, allocatable, others } = inputs;
  const fixed = pinnedProblem(inputs);
  if (fixed !== undefined) return { reason: 'Infeasible', message: fixed };
  const requests = podRequests(wanted);
  for (const name of ['memory', 'cpu']) {
    const requested = requests.get(name) ?? 0;
    const capacity = allocatable.get(name);
    if (capacity === undefined || requested <= capacity) continue;
    const message = `Node didn't have enough capacity: ${name}, requested: ${requested}, capacity: ${capacity}`;
    return { reason: 'Infeasible', message };
  }
  const lacking = lackingResource(wanted, allocatable, others);
  return lacking === undefined ? undefined : { reason: 'Deferred', message: lacking.message };
}

/** One resize that waits. */
export interface WaitingResize {
  /** The pod as it is wanted, and with what it has. */
  wanted: Pod;
  allocated: Pod;
  sinceMs: number;
}

function grows({ wanted, allocated }: WaitingResize): boolean {
  const [before, after] = [podRequests(allocated), podRequests(wanted)];
  return ['cpu', 'memory'].some((name) => (after.get(name) ?? 0) > (before.get(name) ?? 0));
}

/** Who is asked first: those that ask for no more, then by priority, then guaranteed pods, then those that wait longest. */
export function orderWaiting<T extends WaitingResize>(waiting: readonly T[]): T[] {
  const rank = (item: WaitingResize) => [
    grows(item) ? 1 : 0,
    -(item.wanted.spec.priority ?? 0),
    qosClassOf(item.wanted) === 'Guaranteed' ? 0 : 1,
    item.sinceMs,
  ];
  return [...waiting].sort((a, b) => {
    const [x, y] = [rank(a), rank(b)];
    const at = x.findIndex((value, index) => value !== y[index]);
    return at < 0 ? 0 : (x[at] ?? 0) - (y[at] ?? 0);
  });
}
