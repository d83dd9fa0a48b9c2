// kubelet_volume_stats_*: the use of volumes behind claims, read when somebody asks.
import { Gauge, type Registry } from 'prom-client';
import type { VolumeStats, VolumeStatsSource } from '../volume/volume-stats.ts';
import type { NodeView } from './node-view.ts';

const labelNames = ['namespace', 'persistentvolumeclaim'];

/** Name, help, and the number; undefined: the volume has none. */
const gauges: [name: string, help: string, value: (stats: VolumeStats) => number | undefined][] = [
  ['available_bytes', 'Number of available bytes in the volume', (stats) => stats.availableBytes],
  ['capacity_bytes', 'Capacity in bytes of the volume', (stats) => stats.capacityBytes],
  ['used_bytes', 'Number of used bytes in the volume', (stats) => stats.usedBytes],
  ['inodes', 'Maximum number of inodes in the volume', (stats) => stats.inodes],
  ['inodes_free', 'Number of free inodes in the volume', (stats) => stats.inodesFree],
  ['inodes_used', 'Number of used inodes in the volume', (stats) => stats.inodesUsed],
  [
    'health_status_abnormal',
    'Abnormal volume health status. The count is either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates volume is healthy',
    ({ abnormal }) => (abnormal === undefined ? undefined : Number(abnormal)),
  ],
];

/** Registers the gauges. */
export function registerVolumeMetrics(registry: Registry, view: NodeView, source: VolumeStatsSource): void {
  for (const [name, help, value] of gauges) {
    const gauge = new Gauge({
      name: `kubelet_volume_stats_${name}`,
      help,
      labelNames,
      registers: [registry],
      async collect() {
        gauge.reset();
        const all = await Promise.all(view.pods().map(({ metadata }) => source.of(metadata.uid ?? '')));
        for (const stats of all.flat()) {
          const number = value(stats);
          if (stats.pvcRef === undefined || number === undefined) continue;
          gauge.set({ namespace: stats.pvcRef.namespace, persistentvolumeclaim: stats.pvcRef.name }, number);
        }
      },
    });
  }
}
