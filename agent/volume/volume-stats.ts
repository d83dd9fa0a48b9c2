// The use of every volume of the node's pods, measured when somebody asks and at most once in a period for each pod
// (pkg/kubelet/server/stats/volume_stat_calculator.go).
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { isOnLocalDisk } from '../eviction/plan-local-storage-eviction.ts';
import type { VolumeUsage } from './measure-usage.ts';
import type { VolumeManager } from './volume-manager.ts';

/** Sums that are a little older than a period count as of this one. */
const leewayMs = 5000;

/** One volume of one pod. */
export interface VolumeStats extends VolumeUsage {
  name: string;
  /** The claim behind it. */
  pvcRef?: { name: string; namespace: string };
  /** It counts as the pod's own use of the node's disk. */
  isLocal: boolean;
}

export interface VolumeStatsSource {
  /** In the order of the pod's definition; volumes that nobody can measure are left out. */
  of(podUid: string): Promise<VolumeStats[]>;
  forget(podUid: string): void;
}

/** Creates the source. */
export function createVolumeStats(
  volumes: Pick<VolumeManager, 'mounted'>,
  clock: Clock,
  logger: Logger,
  periodMs = 60_000,
): VolumeStatsSource {
  const maxAgeMs = Math.max(periodMs - leewayMs, 0);
  const known = new Map<string, { atMs: number; stats: Promise<VolumeStats[]> }>();

  async function measure(podUid: string): Promise<VolumeStats[]> {
    const all = await Promise.all(
      volumes.mounted(podUid).map(async ({ request, measure: use }): Promise<VolumeStats[]> => {
        const usage = await use().catch((error: unknown) => {
          logger.debug({ err: error, volume: request.specName }, 'cannot measure a volume');
          return undefined;
        });
        if (usage === undefined) return [];
        const claim = request.bound?.claim.metadata;
        const pvcRef = claim === undefined ? {} : { pvcRef: { name: claim.name, namespace: claim.namespace ?? '' } };
        return [{ name: request.volume.name, ...pvcRef, isLocal: isOnLocalDisk(request.volume), ...usage }];
      }),
    );
    return all.flat();
  }

  return {
    of(podUid) {
      const now = clock.monotonicMs();
      const before = known.get(podUid);
      if (before !== undefined && now - before.atMs < maxAgeMs) return before.stats;
      const stats = measure(podUid);
      known.set(podUid, { atMs: now, stats });
      return stats;
    },
    forget: (podUid) => void known.delete(podUid),
  };
}
