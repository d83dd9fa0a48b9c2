// How many volumes there are by plugin: wanted by pods, and made on this node. Counted when somebody asks.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Gauge, type Registry } from 'prom-client';
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';

const kinds: Record<string, string> = {
  configMap: 'kubernetes.io/configmap',
  secret: 'kubernetes.io/secret',
  projected: 'kubernetes.io/projected',
  downwardAPI: 'kubernetes.io/downward-api',
  emptyDir: 'kubernetes.io/empty-dir',
  hostPath: 'kubernetes.io/host-path',
  nfs: 'kubernetes.io/nfs',
  csi: 'kubernetes.io/csi',
  ephemeral: 'kubernetes.io/csi',
  persistentVolumeClaim: 'kubernetes.io/csi',
  image: 'kubernetes.io/image',
};

function pluginOf(volume: Volume): string {
  const kind = Object.keys(volume).find((key) => key !== 'name' && kinds[key] !== undefined);
  return kinds[kind ?? ''] ?? 'unknown';
}

async function madeVolumes(rootDir: string): Promise<string[]> {
  const pods = await readdir(join(rootDir, 'pods')).catch(() => []);
  const lists = await Promise.all(
    pods.map(async (uid) => {
      const directory = join(rootDir, 'pods', uid, 'volumes');
      const plugins = await readdir(directory).catch(() => []);
      const volumes = await Promise.all(
        plugins.map(async (plugin) => {
          const names = await readdir(join(directory, plugin)).catch(() => []);
          return names.map(() => plugin.replace('~', '/'));
        }),
      );
      return volumes.flat();
    }),
  );
  return lists.flat();
}

/** Registers volume_manager_total_volumes. */
export function registerVolumeCounts(registry: Registry, rootDir: string, pods: () => Pod[]): void {
  const gauge = new Gauge({
    name: 'volume_manager_total_volumes',
    help: 'Number of volumes in Volume Manager',
    labelNames: ['plugin_name', 'state'],
    registers: [registry],
    async collect() {
      const made = await madeVolumes(rootDir);
      gauge.reset();
      for (const plugin of made) gauge.inc({ plugin_name: plugin, state: 'actual_state_of_world' });
      for (const { spec } of pods()) {
        for (const volume of spec.volumes ?? []) {
          gauge.inc({ plugin_name: pluginOf(volume), state: 'desired_state_of_world' });
        }
      }
    },
  });
}
