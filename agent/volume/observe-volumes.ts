// Times the preparation of volumes by their kind, under the names of kubelet's metrics.
import type { Clock } from '#kube/process/clock.ts';
import type { VolumeKinds } from './volume-kinds.ts';

/** One preparation of one volume. */
export interface VolumeOperation {
  plugin: string;
  failed: boolean;
  durationMs: number;
}

/** Passes everything on, and tells how long each volume took to prepare. */
export function observeVolumes(
  kinds: VolumeKinds,
  clock: Clock,
  observe: (operation: VolumeOperation) => void,
): VolumeKinds {
  return {
    ...kinds,
    find(request) {
      const kind = kinds.find(request);
      return {
        ...kind,
        async setUp(...args) {
          const startedMs = clock.monotonicMs();
          const done = (failed: boolean) =>
            observe({ plugin: kind.plugin, failed, durationMs: clock.monotonicMs() - startedMs });
          try {
            const prepared = await kind.setUp(...args);
            done(false);
            return prepared;
          } catch (error) {
            done(true);
            throw error;
          }
        },
      };
    },
  };
}
