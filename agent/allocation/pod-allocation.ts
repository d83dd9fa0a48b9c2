// The resources a node has given to a pod, apart from those its definition asks for: the two differ while a resize
// waits. Pure. The shape is that of kubelet's checkpoint, so that either agent can read the other's.
import type { Container, Pod, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { parseQuantity } from '#kube/api/quantity.ts';

/** What one pod has, by container; containers that cannot be resized are left out. */
export interface PodAllocation {
  ContainerResources?: Record<string, ResourceRequirements>;
  PodLevelResources?: ResourceRequirements;
}

type ResourceList = Readonly<Record<string, string>> | undefined;

function sameList(a: ResourceList, b: ResourceList): boolean {
  const names = Object.keys(a ?? {});
  if (names.length !== Object.keys(b ?? {}).length) return false;
  return names.every((name) => {
    const [x, y] = [a?.[name], b?.[name]];
    return x !== undefined && y !== undefined && (x === y || parseQuantity(x).nano === parseQuantity(y).nano);
  });
}

/** Equal amounts, however they are written. */
export function sameResources(a: ResourceRequirements | undefined, b: ResourceRequirements | undefined): boolean {
  return sameList(a?.requests, b?.requests) && sameList(a?.limits, b?.limits);
}

/** Containers whose resources may change while they run. */
export function resizableContainers(pod: Pod): Container[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
}

/** What the pod's definition asks for. */
export function allocationOf(pod: Pod): PodAllocation {
  const entries = resizableContainers(pod).map(({ name, resources }) => [name, resources ?? {}] as const);
  const podLevel = pod.spec.resources;
  return {
    ContainerResources: Object.fromEntries(entries),
    ...(podLevel === undefined ? {} : { PodLevelResources: podLevel }),
  };
}

/** True when the definition asks for just what is given. */
export function isAllocated(pod: Pod, allocation: PodAllocation): boolean {
  const { ContainerResources: given = {}, PodLevelResources } = allocation;
  if (!sameResources(pod.spec.resources, PodLevelResources)) return false;
  return resizableContainers(pod).every(({ name, resources }) => {
    const own = given[name];
    return own === undefined || sameResources(resources, own);
  });
}

/** The pod with given resources in place of those its definition asks for; the same object where nothing differs. */
export function withAllocation(pod: Pod, allocation: PodAllocation | undefined): Pod {
  if (allocation === undefined || isAllocated(pod, allocation)) return pod;
  const { ContainerResources: given = {}, PodLevelResources: resources } = allocation;
  const overlay = (container: Container): Container => {
    const own = given[container.name];
    return own === undefined ? container : { ...container, resources: own };
  };
  const { resources: _wanted, initContainers, containers, ...rest } = pod.spec;
  return {
    ...pod,
    spec: {
      ...rest,
      ...(initContainers === undefined ? {} : { initContainers: initContainers.map(overlay) }),
      containers: containers.map(overlay),
      ...(resources === undefined ? {} : { resources }),
    },
  };
}
