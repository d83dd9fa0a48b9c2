// The words of an eviction: the pod's message, and annotations of the event that name the containers at fault
// (pkg/kubelet/eviction/helpers.go: evictionMessage). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { formatQuantity, parseQuantity, quantityOf, quantityValue } from '#kube/api/quantity.ts';
import type { ContainerUsage, PodUsage } from './rank-pods.ts';
import { describeMet, type Observations, resourceOfSignal, type Threshold } from './thresholds.ts';

/** What the pod and the event say. */
export interface EvictionWords {
  message: string;
  annotations: Record<string, string>;
}

function containerUse(usage: ContainerUsage | undefined, resource: string): number | undefined {
  if (usage === undefined) return undefined;
  if (resource === 'memory') return usage.memoryBytes;
  return resource === 'ephemeral-storage' ? usage.rootBytes + usage.logBytes : undefined;
}

/** Words the eviction of `pod` for `threshold`. */
export function evictionMessage(
  pod: Pod,
  threshold: Threshold,
  seen: Observations,
  usage: PodUsage | undefined,
): EvictionWords {
  const resource = resourceOfSignal[threshold.signal];
  const { quantity, available } = describeMet(threshold, seen);
  let message = `The node was low on resource: ${resource}. Threshold quantity: ${quantity}, available: ${available}. `;
  const offenders: string[] = [];
  const uses: string[] = [];
  const running = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)];
  for (const { name, resources } of running) {
    const used = containerUse(usage?.containers.get(name), resource);
    const request = resources?.requests?.[resource];
    if (used === undefined || used <= quantityValue(request)) continue;
    const text = formatQuantity(quantityOf(used, 'BinarySI'));
    const asked = formatQuantity(parseQuantity(request ?? '0'));
    message += `Container ${name} was using ${text}, request is ${asked}, has larger consumption of ${resource}. `;
    offenders.push(name);
    uses.push(text);
  }
  return {
    message,
    annotations: {
      offending_containers: offenders.join(','),
      offending_containers_usage: uses.join(','),
      starved_resource: resource,
    },
  };
}
