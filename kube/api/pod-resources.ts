// What a pod asks for and may use in all: init containers, sidecars, pod-level resources and overhead included.
// Source: k8s.io/component-helpers/resource.
import type { Container, Pod } from './generated/core-v1.ts';
import { milliValue, quantityValue } from './quantity.ts';

/** Amounts by resource name: cpu in thousandths of a core, everything else in its own unit. */
export type ResourceAmounts = Map<string, number>;

/** An amount as ResourceAmounts counts it. */
export function resourceAmount(resource: string, quantity: string): number {
  return resource === 'cpu' ? milliValue(quantity) : quantityValue(quantity);
}

/** A resource list in numbers. */
export function amountsOf(list: Readonly<Record<string, string>> | undefined): ResourceAmounts {
  const amounts: ResourceAmounts = new Map();
  for (const resource in list) amounts.set(resource, resourceAmount(resource, list[resource] ?? '0'));
  return amounts;
}

function addTo(sum: ResourceAmounts, amounts: ResourceAmounts): void {
  for (const [resource, amount] of amounts) sum.set(resource, (sum.get(resource) ?? 0) + amount);
}

function raiseTo(highest: ResourceAmounts, amounts: ResourceAmounts): void {
  for (const [resource, amount] of amounts) {
    if (amount > (highest.get(resource) ?? 0)) highest.set(resource, amount);
  }
}

/** A sidecar: an init container that goes on running. */
export function isSidecar(container: Pick<Container, 'restartPolicy'>): boolean {
  return container.restartPolicy === 'Always';
}

function total(pod: Pick<Pod, 'spec'>, amountsFor: (container: Container) => ResourceAmounts): ResourceAmounts {
  const running: ResourceAmounts = new Map();
  for (const container of pod.spec?.containers ?? []) addTo(running, amountsFor(container));
  const sidecars: ResourceAmounts = new Map();
  const initPeak: ResourceAmounts = new Map();
  for (const container of pod.spec?.initContainers ?? []) {
    const own = amountsFor(container);
    if (isSidecar(container)) {
      addTo(running, own);
      addTo(sidecars, own);
      raiseTo(initPeak, sidecars);
    } else {
      const together = new Map(own);
      addTo(together, sidecars);
      raiseTo(initPeak, together);
    }
  }
  raiseTo(running, initPeak);
  return running;
}

/** Pod-level resources take the place of the containers' sums for the resources that they name. */
function overridden(amounts: ResourceAmounts, list: Record<string, string> | undefined): ResourceAmounts {
  for (const [resource, amount] of amountsOf(list)) amounts.set(resource, amount);
  return amounts;
}

/** What the scheduler and the node reserve for the pod. */
export function podRequests(pod: Pick<Pod, 'spec'>): ResourceAmounts {
  const amounts = overridden(
    total(pod, (container) => amountsOf(container.resources?.requests)),
    pod.spec?.resources?.requests,
  );
  addTo(amounts, amountsOf(pod.spec?.overhead));
  return amounts;
}

/** What a running pod may hold while a resize is under way: the most of what it asks for, was given and runs with. */
function heldBy(pod: Pod, container: Container): ResourceAmounts {
  const { conditions = [], containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  const status = [...containerStatuses, ...initContainerStatuses].find(({ name }) => name === container.name);
  const wanted = amountsOf(container.resources?.requests);
  if (status === undefined) return wanted;
  const held = amountsOf(status.resources?.requests);
  raiseTo(held, amountsOf(status.allocatedResources));
  // What the node can never give is not reserved.
  const infeasible = conditions.some(({ type, reason }) => type === 'PodResizePending' && reason === 'Infeasible');
  if (infeasible && held.size > 0) return held;
  raiseTo(held, wanted);
  return held;
}

/** What others must leave to the pod: its requests, also those it is about to give back or to get. */
export function reservedRequests(pod: Pod): ResourceAmounts {
  const amounts = overridden(
    total(pod, (container) => heldBy(pod, container)),
    pod.spec?.resources?.requests,
  );
  const overhead = amountsOf(pod.spec?.overhead);
  // The status counts the overhead in.
  const held = amountsOf(pod.status?.allocatedResources);
  for (const resource of Object.keys(pod.spec?.resources?.requests ?? {})) {
    const own = (held.get(resource) ?? 0) - (overhead.get(resource) ?? 0);
    if (own > (amounts.get(resource) ?? 0)) amounts.set(resource, own);
  }
  addTo(amounts, overhead);
  return amounts;
}

/** The pod's upper bounds; a resource that some container may use without limit still sums the limits given. */
export function podLimits(pod: Pick<Pod, 'spec'>): ResourceAmounts {
  const amounts = overridden(
    total(pod, (container) => amountsOf(container.resources?.limits)),
    pod.spec?.resources?.limits,
  );
  for (const [resource, amount] of amountsOf(pod.spec?.overhead)) {
    const limit = amounts.get(resource);
    if (limit !== undefined) amounts.set(resource, limit + amount);
  }
  return amounts;
}
