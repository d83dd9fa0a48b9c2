// Which services a pod change concerns, for both endpoint controllers.
import type { Pod, Service } from '#kube/api/generated/core-v1.ts';
import { requirementsOfMap, selectorMatches } from '#kube/api/label-selector.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { WorkQueue } from '#kube/queue/types.ts';
import { byLabelPair, type SharedInformers, servicesForLabels } from '../shared-informers.ts';

/** Whether the control plane finds the endpoints of this service. */
export function hasSelector(service: Service): boolean {
  return Object.keys(service.spec?.selector ?? {}).length > 0 && service.spec?.type !== 'ExternalName';
}

/** The pods that a service selects. */
export function podsOf(informers: SharedInformers, service: Service): Pod[] {
  const requirements = requirementsOfMap(service.spec?.selector);
  const [first] = Object.entries(service.spec?.selector ?? {});
  if (first === undefined) return [];
  return informers.pods
    .byIndex(byLabelPair, `${service.metadata.namespace}/${first[0]}=${first[1]}`)
    .filter((pod) => selectorMatches(requirements, pod.metadata.labels));
}

/** What of a pod an endpoint depends on. */
function endpointFacts({ metadata, spec, status }: Pod): string {
  const ready = status?.conditions?.find(({ type }) => type === 'Ready')?.status;
  return JSON.stringify([
    status?.podIPs,
    status?.podIP,
    status?.phase,
    ready,
    spec?.nodeName,
    metadata.deletionTimestamp === undefined,
    metadata.labels,
  ]);
}

/**
 * Adds the key of every service that selects, or selected, a pod that changed; and of every service that changed.
 * `delayMs` gathers changes of pods: large objects are not rewritten for each of them.
 */
export function enqueueServices(
  informers: SharedInformers,
  queue: WorkQueue<string>,
  delayMs: (service: string) => number,
): void {
  const enqueue = ({ metadata }: Pod) => {
    for (const service of servicesForLabels(informers.services, metadata.namespace ?? '', metadata.labels)) {
      if (!selectorMatches(requirementsOfMap(service.spec?.selector), metadata.labels)) continue;
      const key = objectKey(service);
      queue.addAfter(key, delayMs(key));
    }
  };
  informers.pods.subscribe({
    added: enqueue,
    updated: (previous, pod) => {
      if (endpointFacts(previous) === endpointFacts(pod)) return;
      enqueue(pod);
      if (JSON.stringify(previous.metadata.labels) !== JSON.stringify(pod.metadata.labels)) enqueue(previous);
    },
    deleted: enqueue,
  });
  informers.services.subscribe({
    added: (service) => queue.add(objectKey(service)),
    updated: (_, service) => queue.add(objectKey(service)),
    deleted: (service) => queue.add(objectKey(service)),
  });
}
