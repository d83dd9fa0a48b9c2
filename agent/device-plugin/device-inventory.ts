// The devices that plugins have told of, who has them, and the file that keeps both over a restart. In memory, with the
// file replaced as a whole.
import { readFile, rename } from 'node:fs/promises';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';
import { type DeviceEntry, decodeDeviceCheckpoint, encodeDeviceCheckpoint } from './device-checkpoint.ts';
import type { DeviceFacts } from './select-devices.ts';

/** Counts for the node's status. */
export interface DeviceCounts {
  capacity: number;
  allocatable: number;
}

export interface DeviceInventory {
  /** Resources that plugins have or had. */
  resources(): string[];
  devicesOf(resource: string): ReadonlyMap<string, DeviceFacts>;
  /** Replaces what is known of the resource. True when that changes what the node has. */
  set(resource: string, devices: readonly DeviceFacts[]): boolean;
  /** The plugin is away: nothing of it can be used, though what was given stays with whom it was given. */
  markUnhealthy(resource: string): void;
  /** The plugin will not be back. */
  remove(resource: string): void;
  counts(): Map<string, DeviceCounts>;
  entryOf(podUid: string, container: string, resource: string): DeviceEntry | undefined;
  entriesOf(podUid: string, container?: string): DeviceEntry[];
  entries(): readonly DeviceEntry[];
  /** Ids in use, those of one pod's container left out. */
  takenBut(resource: string, podUid: string, container: string): Set<string>;
  put(entry: DeviceEntry): Promise<void>;
  retain(podUids: ReadonlySet<string>): Promise<void>;
  save(): Promise<void>;
}

/** Ids of an entry, of all nodes. */
export function idsOf(entry: DeviceEntry | undefined): string[] {
  return entry === undefined ? [] : [...entry.ids.values()].flat();
}

/** Reads `path`, where it is there; a damaged file is put aside with one warning. */
export async function openDeviceInventory(path: string, logger: Logger): Promise<DeviceInventory> {
  const resources = new Map<string, Map<string, DeviceFacts>>();
  /** Resources whose plugin did not come back: told as none for as long as the agent runs. */
  const removed = new Set<string>();
  let entries: DeviceEntry[] = [];
  try {
    const checkpoint = decodeDeviceCheckpoint(await readFile(path, 'utf8'));
    entries = checkpoint.entries;
    // Until its plugin registers again nothing is known of a resource but that the node had it.
    for (const resource of checkpoint.registered.keys()) resources.set(resource, new Map());
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      const aside = `${path}.damaged`;
      await rename(path, aside).catch(() => undefined);
      logger.warn({ err: error, path, aside }, 'cannot use the checkpoint of devices: it is put aside');
    }
  }
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    const healthy = (devices: ReadonlyMap<string, DeviceFacts>) =>
      [...devices.values()].filter((device) => device.healthy).map(({ id }) => id);
    const registered = new Map([...resources].map(([name, devices]) => [name, healthy(devices)]));
    await replaceFile(path, encodeDeviceCheckpoint({ entries, registered }));
  }

  function save(): Promise<void> {
    writing = writing.catch(() => undefined).then(write);
    return writing;
  }

  return {
    resources: () => [...resources.keys()],
    devicesOf: (resource) => resources.get(resource) ?? new Map(),
    set(resource, devices) {
      const before = resources.get(resource);
      const after = new Map(devices.map((device) => [device.id, device]));
      resources.set(resource, after);
      removed.delete(resource);
      const same =
        before?.size === after.size && devices.every(({ id, healthy }) => before.get(id)?.healthy === healthy);
      return !same;
    },
    markUnhealthy(resource) {
      const devices = resources.get(resource);
      for (const [id, device] of devices ?? []) devices?.set(id, { ...device, healthy: false });
    },
    remove(resource) {
      if (resources.delete(resource)) removed.add(resource);
    },
    counts() {
      const counts = new Map<string, DeviceCounts>();
      for (const resource of removed) counts.set(resource, { capacity: 0, allocatable: 0 });
      for (const [resource, devices] of resources) {
        const allocatable = [...devices.values()].filter((device) => device.healthy).length;
        counts.set(resource, { capacity: devices.size, allocatable });
      }
      return counts;
    },
    entryOf: (podUid, container, resource) =>
      entries.find((item) => item.podUid === podUid && item.container === container && item.resource === resource),
    entriesOf: (podUid, container) =>
      entries.filter((item) => item.podUid === podUid && (container === undefined || item.container === container)),
    entries: () => entries,
    takenBut(resource, podUid, container) {
      const others = entries.filter(
        (item) => item.resource === resource && (item.podUid !== podUid || item.container !== container),
      );
      return new Set(others.flatMap(idsOf));
    },
    async put(entry) {
      const { podUid, container, resource } = entry;
      const isSame = (item: DeviceEntry) =>
        item.podUid === podUid && item.container === container && item.resource === resource;
      entries = [...entries.filter((item) => !isSame(item)), entry];
      await save();
    },
    async retain(podUids) {
      const kept = entries.filter(({ podUid }) => podUids.has(podUid));
      if (kept.length === entries.length) return;
      entries = kept;
      await save();
    },
    save,
  };
}
