// How many records of pulled images, and of pulls under way, lie on disk. Counted when somebody asks.
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Gauge, type Registry } from 'prom-client';

const folders = [
  ['kubelet_imagemanager_ondisk_pulledrecords', 'pulled', 'Number of ImagePulledRecords stored on disk.'],
  ['kubelet_imagemanager_ondisk_pullintents', 'pulling', 'Number of ImagePullIntents stored on disk.'],
] as const;

/** Registers both gauges. */
export function registerPullRecordCounts(registry: Registry, rootDir: string): void {
  for (const [name, folder, help] of folders) {
    const gauge = new Gauge({
      name,
      help,
      registers: [registry],
      async collect() {
        const files = await readdir(join(rootDir, 'image_manager', folder)).catch(() => []);
        gauge.set(files.length);
      },
    });
  }
}
