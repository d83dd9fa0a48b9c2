// Times what the manager of cgroups does, under the names of kubelet's metric.
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupManager } from './cgroup-manager.ts';

/** Passes everything on, and tells how long each change of a cgroup took. */
export function observeCgroups(
  manager: CgroupManager,
  clock: Clock,
  observe: (operation: 'create' | 'update' | 'destroy', durationMs: number) => void,
): CgroupManager {
  async function timed(operation: 'create' | 'update' | 'destroy', work: () => Promise<void>): Promise<void> {
    const startedMs = clock.monotonicMs();
    try {
      await work();
    } finally {
      observe(operation, clock.monotonicMs() - startedMs);
    }
  }
  return {
    ...manager,
    ensurePod: (pod) => timed('create', () => manager.ensurePod(pod)),
    setPod: (pod, limits) => timed('update', () => manager.setPod(pod, limits)),
    updateClasses: (pods) => timed('update', () => manager.updateClasses(pods)),
    removePod: (podUid) => timed('destroy', () => manager.removePod(podUid)),
  };
}
