// What housekeeping found in its last round: directories of pods that are no more.
import { Gauge, type Registry } from 'prom-client';

/** Registers the gauges; the function is told what the last round did. */
export function registerOrphanMetrics(registry: Registry): (found: { removed: number; failed: number }) => void {
  const gauge = (name: string, help: string) => new Gauge({ name: `kubelet_${name}`, help, registers: [registry] });
  const removed = gauge(
    'orphan_pod_cleaned_volumes',
    'The total number of orphaned Pods whose volumes were cleaned in the last periodic sweep.',
  );
  const failed = gauge(
    'orphan_pod_cleaned_volumes_errors',
    'The number of orphaned Pods whose volumes failed to be cleaned in the last periodic sweep.',
  );
  return (found) => {
    removed.set(found.removed);
    failed.set(found.failed);
  };
}
