// Whether a pod uses more of the node's disk than it may: volumes, the pod as a whole, single containers, in this order
// (pkg/kubelet/eviction/eviction_manager.go: localStorageEviction). Pure.
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { isSidecar, podLimits } from '#kube/api/pod-resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';

const resource = 'ephemeral-storage';

/** Bytes that a pod uses now. */
export interface LocalStorageUse {
  /** By volume name. */
  volumes: ReadonlyMap<string, number>;
  /** By container name: what it wrote, and its logs. */
  containers: ReadonlyMap<string, number>;
}

/** Whether the pod has any limit that could be passed. */
export function hasLocalStorageLimit(pod: Pod): boolean {
  return (
    (pod.spec.volumes ?? []).some(({ emptyDir }) => quantityValue(emptyDir?.sizeLimit) > 0) ||
    podLimits(pod).has(resource)
  );
}

/** Volumes that count as the pod's own use of the disk. */
export function isOnLocalDisk({ emptyDir, configMap, downwardAPI }: Volume): boolean {
  return (
    (emptyDir !== undefined && emptyDir.medium !== 'Memory') || configMap !== undefined || downwardAPI !== undefined
  );
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** Why the pod has to go; undefined when it may stay. */
export function planLocalStorageEviction(pod: Pod, use: LocalStorageUse): string | undefined {
  const volumes = pod.spec.volumes ?? [];
  for (const { name, emptyDir } of volumes) {
    const limit = quantityValue(emptyDir?.sizeLimit);
    if (limit > 0 && (use.volumes.get(name) ?? 0) > limit) {
      return `Usage of EmptyDir volume "${name}" exceeds the limit "${emptyDir?.sizeLimit}". `;
    }
  }
  const podLimit = podLimits(pod).get(resource);
  if (podLimit !== undefined) {
    const onDisk = volumes.filter(isOnLocalDisk).map(({ name }) => use.volumes.get(name) ?? 0);
    if (sum(onDisk) + sum(use.containers.values()) > podLimit) {
      return `Pod ephemeral local storage usage exceeds the total limit of containers ${formatLimit(pod, podLimit)}. `;
    }
  }
  for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)]) {
    const limit = container.resources?.limits?.[resource];
    if (limit !== undefined && (use.containers.get(container.name) ?? 0) > quantityValue(limit)) {
      return `Container ${container.name} exceeded its local ephemeral storage limit "${limit}". `;
    }
  }
  return undefined;
}

/** In the words of the definition, where it says it in one place; else in the largest unit that is exact. */
function formatLimit(pod: Pod, bytes: number): string {
  const written = pod.spec.containers
    .map(({ resources }) => resources?.limits?.[resource])
    .filter((text) => text !== undefined);
  const [only] = written;
  if (only !== undefined && written.length === 1 && quantityValue(only) === bytes) return only;
  const units = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi'];
  let value = bytes;
  let unit = 0;
  while (value > 0 && value % 1024 === 0 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value}${units[unit]}`;
}
