// The soak rows: what a node holds after pods have come and gone for so many minutes, beside what it held after the
// first two. Runs inside the namespace of a cluster of the bench's own.
import type { Row } from './measure.ts';
import { soakNode } from './soak/soak-node.ts';

const minuteMs = 60_000;

/** Runs it for `minutes`. The floor of each row is the level after the warm-up. */
export async function benchSoak(instance: string, hostname: string, minutes: number): Promise<Row[]> {
  const { pods, before, after, memory } = await soakNode({
    instance,
    hostname,
    warmUpMs: 2 * minuteMs,
    durationMs: minutes * minuteMs,
    settleMs: 30_000,
  });
  const level = (work: string, unit: string, berth: number, floor: number): Row => ({
    work,
    unit,
    berth,
    floor,
    budget: 'level',
  });
  return [
    { work: `soak of ${minutes} minutes: pods that came and went`, unit: 'pods', berth: pods, budget: '-' },
    ...Object.entries(memory).map(([name, { before: first, after: last }]) =>
      level(`same: memory of ${name}`, 'MB', last, first),
    ),
    level('same: file descriptors of the agent', '', after.descriptors, before.descriptors),
    level('same: mounts', '', after.mounts, before.mounts),
    level('same: cgroups', '', after.cgroups, before.cgroups),
    level('same: network namespaces', '', after.networkNamespaces, before.networkNamespaces),
    level('same: addresses given to pods', '', after.addresses, before.addresses),
    level('same: shims of the runtime', '', after.shims, before.shims),
    level('same: directories of pods', '', after.podDirectories, before.podDirectories),
  ];
}
