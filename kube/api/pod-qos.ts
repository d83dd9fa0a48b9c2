// The quality of service class of a pod, from its requests and limits of cpu and memory.
// Source: k8s.io/kubernetes/pkg/apis/core/v1/helper/qos.
import type { Pod, ResourceRequirements } from './generated/core-v1.ts';
import { resourceAmount } from './pod-resources.ts';

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

const counted = ['cpu', 'memory'];

function amounts(list: Readonly<Record<string, string>> | undefined): Map<string, number> {
  const found = new Map<string, number>();
  for (const resource of counted) {
    const quantity = list?.[resource];
    const amount = quantity === undefined ? 0 : resourceAmount(resource, quantity);
    if (amount > 0) found.set(resource, amount);
  }
  return found;
}

function addAll(sum: Map<string, number>, more: Map<string, number>): void {
  for (const [resource, amount] of more) sum.set(resource, (sum.get(resource) ?? 0) + amount);
}

/** Computes the class from the spec, without looking at the status. */
export function computeQosClass(pod: Pick<Pod, 'spec'>): QosClass {
  const podLevel = pod.spec?.resources;
  const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
  const declared: (ResourceRequirements | undefined)[] =
    podLevel === undefined ? containers.map((container) => container.resources) : [podLevel];
  const requests = new Map<string, number>();
  const limits = new Map<string, number>();
  let allLimited = true;
  for (const resources of declared) {
    addAll(requests, amounts(resources?.requests));
    const own = amounts(resources?.limits);
    addAll(limits, own);
    if (own.size < counted.length) allLimited = false;
  }
  if (requests.size === 0 && limits.size === 0) return 'BestEffort';
  const equal = requests.size === limits.size && [...requests].every(([name, amount]) => limits.get(name) === amount);
  return allLimited && equal ? 'Guaranteed' : 'Burstable';
}

/** The class recorded in the status, which never changes, or else the computed one. */
export function qosClassOf(pod: Pick<Pod, 'spec' | 'status'>): QosClass {
  const recorded = pod.status?.qosClass;
  if (recorded === 'Guaranteed' || recorded === 'Burstable' || recorded === 'BestEffort') return recorded;
  return computeQosClass(pod);
}
