// What the machine is: read from /proc, /sys and /etc once at start. Reading these few files directly costs no
// memory, which a general library would.
import { readdir, readFile } from 'node:fs/promises';
import { arch, availableParallelism, release } from 'node:os';
import { join } from 'node:path';

/** Facts that do not change while the agent runs. */
export interface MachineFacts {
  cpus: number;
  memoryBytes: number;
  swapBytes: number;
  /** Reserved huge pages: bytes by page size in KiB. */
  hugepages: { pageKiB: number; bytes: number }[];
  machineId: string;
  systemUuid: string;
  bootId: string;
  kernelVersion: string;
  osImage: string;
  /** As Go names it: amd64, arm64. */
  architecture: string;
}

async function firstText(paths: readonly string[]): Promise<string> {
  for (const path of paths) {
    const text = await readFile(path, 'utf8').catch(() => '');
    if (text.trim() !== '') return text.trim();
  }
  return '';
}

/** The value of a line `name:   123 kB` in bytes. */
export function meminfoBytes(text: string, name: string): number {
  const match = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(text);
  return Number(match?.[1] ?? 0) * 1024;
}

async function readHugepages(root: string): Promise<MachineFacts['hugepages']> {
  const directory = join(root, 'sys/kernel/mm/hugepages');
  const names = await readdir(directory).catch(() => []);
  const pages = await Promise.all(
    names.map(async (name) => {
      const pageKiB = Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
      const count = Number(await firstText([join(directory, name, 'nr_hugepages')]));
      return { pageKiB, bytes: count * pageKiB * 1024 };
    }),
  );
  // The small ones first, whatever order the folder has.
  return pages.sort((a, b) => a.pageKiB - b.pageKiB);
}

const architectures: Record<string, string> = { x64: 'amd64', arm: 'arm', arm64: 'arm64', ia32: '386' };

/** Reads the facts. `root` is / but in tests. */
export async function readMachineFacts(
  options: { machineIdFiles: string[]; bootIdFile: string },
  root = '/',
): Promise<MachineFacts> {
  const meminfo = await firstText([join(root, 'proc/meminfo')]);
  const osRelease = await firstText([join(root, 'etc/os-release'), join(root, 'usr/lib/os-release')]);
  const machineId = await firstText(options.machineIdFiles);
  const uuid = await firstText([join(root, 'sys/class/dmi/id/product_uuid'), join(root, 'proc/device-tree/vm,uuid')]);
  return {
    cpus: availableParallelism(),
    memoryBytes: meminfoBytes(meminfo, 'MemTotal'),
    swapBytes: meminfoBytes(meminfo, 'SwapTotal'),
    hugepages: await readHugepages(root),
    machineId,
    systemUuid: uuid === '' ? machineId : uuid,
    bootId: await firstText([options.bootIdFile]),
    kernelVersion: release(),
    osImage: /^PRETTY_NAME="?([^"\n]*)"?$/m.exec(osRelease)?.[1] ?? 'Linux',
    architecture: architectures[arch()] ?? arch(),
  };
}

/** The size as the runtime names it (2MB) and as the resource is called (hugepages-2Mi). */
export function hugepageNames(pageKiB: number): { runtime: string; resource: string } {
  const units: [number, string][] = [
    [1024 * 1024, 'G'],
    [1024, 'M'],
    [1, 'K'],
  ];
  const [size, unit] = units.find(([factor]) => pageKiB % factor === 0) ?? [1, 'K'];
  return { runtime: `${pageKiB / size}${unit}B`, resource: `hugepages-${pageKiB / size}${unit}i` };
}
