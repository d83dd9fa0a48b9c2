// What a node holds at one moment, of all that could pile up over the years: memory, descriptors, mounts, cgroups,
// namespaces, addresses, shims. Taken inside the node's network namespace.
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { NodeLayout } from '../../cli/up/layout.ts';

/** Counts of one node; each is the same again when as many pods run. */
export interface Levels {
  descriptors: number;
  mounts: number;
  cgroups: number;
  networkNamespaces: number;
  addresses: number;
  shims: number;
  podDirectories: number;
}

const cgroupMount = '/sys/fs/cgroup';
const namespaceDirectory = '/run/netns';

function countFolders(directory: string): number {
  if (!existsSync(directory)) return 0;
  const entries = readdirSync(directory, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  return entries.reduce((sum, { name }) => sum + 1 + countFolders(join(directory, name)), 0);
}

function countCgroups(cgroupRoot: string): number {
  const hierarchies = existsSync(join(cgroupMount, 'cgroup.controllers'))
    ? [cgroupMount]
    : readdirSync(cgroupMount).map((name) => join(cgroupMount, name));
  return hierarchies.reduce((sum, hierarchy) => sum + countFolders(join(hierarchy, cgroupRoot)), 0);
}

/** A fact of each process; processes end while they are looked at. */
function ofProcesses<T>(read: (directory: string) => T): T[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [read(join('/proc', pid))];
      } catch {
        // It has ended, or is a thread of the kernel.
        return [];
      }
    });
}

/** Namespaces of pods that are connected here, and those on this machine that no process is in any more. */
function countNamespaces(): number {
  const connected = readdirSync('/sys/class/net').filter((name) => name.startsWith('veth')).length;
  const inUse = new Set(ofProcesses((directory) => readlinkSync(join(directory, 'ns/net'))));
  const names = existsSync(namespaceDirectory) ? readdirSync(namespaceDirectory) : [];
  const abandoned = names.filter((name) => {
    const stat = statSync(join(namespaceDirectory, name), { throwIfNoEntry: false });
    return name.startsWith('cni-') && stat !== undefined && !inUse.has(`net:[${stat.ino}]`);
  });
  return connected + abandoned.length;
}

/** Takes the levels of a node and of its agent's process. */
export function takeLevels(node: NodeLayout, agentPid: number): Levels {
  const given = join(node.ipamDir, 'berth');
  return {
    descriptors: readdirSync(`/proc/${agentPid}/fd`).length,
    mounts: readFileSync(`/proc/${agentPid}/mountinfo`, 'utf8')
      .split('\n')
      .filter((line) => line.includes(node.stateDir) || line.includes(node.runDir)).length,
    cgroups: countCgroups(node.cgroupRoot),
    networkNamespaces: countNamespaces(),
    addresses: existsSync(given) ? readdirSync(given).filter((name) => /^[\d.]+$/.test(name)).length : 0,
    shims: ofProcesses((directory) => readFileSync(join(directory, 'cmdline'), 'utf8')).filter(
      (line) => line.includes('containerd-shim') && line.includes(node.containerdSocket),
    ).length,
    podDirectories: readdirSync(join(node.kubeletDir, 'pods')).length,
  };
}
