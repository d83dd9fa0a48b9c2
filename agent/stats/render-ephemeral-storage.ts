// The node's disk that pods use, by what uses it: what cAdvisor does not tell and eviction goes by.
import { labelText, type MetricText } from './metric-text.ts';

/** What one pod has on the node's disk. */
export interface PodDisk {
  namespace: string;
  name: string;
  /** Bytes by container: what it wrote into its image, and its logs. */
  containers: { name: string; rootfsBytes: number | undefined; logBytes: number | undefined }[];
  volumes: { name: string; usedBytes: number }[];
}

/** Writes the family. */
export function renderEphemeralStorage(text: MetricText, pods: readonly PodDisk[]): void {
  text.family(
    'berth_pod_ephemeral_storage_bytes',
    'gauge',
    "Bytes of the node's disk that a pod uses, by source: rootfs and logs of a container, or a volume.",
  );
  for (const { namespace, name: pod, containers, volumes } of pods) {
    const add = (source: string, name: string, bytes: number | undefined) => {
      if (bytes !== undefined) text.add(labelText({ name, namespace, pod, source }), bytes);
    };
    for (const { name, rootfsBytes, logBytes } of containers) {
      add('rootfs', name, rootfsBytes);
      add('logs', name, logBytes);
    }
    for (const { name, usedBytes } of volumes) add('volume', name, usedBytes);
  }
}
