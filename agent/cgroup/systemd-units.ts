// Limits of a cgroup as properties of a systemd slice: names, types and units as org.freedesktop.systemd1 has them
// (man org.freedesktop.systemd1, systemd.resource-control). Pure.
import type { CgroupLimits } from './cgroup-fs.ts';
import { sharesToWeight } from './cgroup-v2.ts';

/** A property: its name, and its value with the type. */
export type UnitProperty = [name: string, value: [signature: string, value: unknown]];

/** No limit. */
const infinity = 18_446_744_073_709_551_615n;

const amount = (value: number) => (value < 0 ? infinity : BigInt(Math.trunc(value)));

/** What the limits are called. */
export function unitProperties(limits: CgroupLimits, version: 1 | 2): UnitProperty[] {
  const { cpuShares, cpuPeriodUs = 100_000, cpuQuotaUs, memoryBytes, memoryMinBytes, pids } = limits;
  const properties: UnitProperty[] = [];
  if (cpuShares !== undefined) {
    const shares = Math.trunc(cpuShares);
    properties.push(
      version === 2 ? ['CPUWeight', ['t', BigInt(sharesToWeight(shares))]] : ['CPUShares', ['t', BigInt(shares)]],
    );
  }
  if (cpuQuotaUs !== undefined) {
    // systemd counts for a second, and in steps of 10 ms.
    const perSecond = cpuQuotaUs < 0 ? -1 : Math.ceil((cpuQuotaUs * 1_000_000) / cpuPeriodUs / 10_000) * 10_000;
    properties.push(['CPUQuotaPerSecUSec', ['t', amount(perSecond)]]);
    properties.push(['CPUQuotaPeriodUSec', ['t', BigInt(cpuPeriodUs)]]);
  }
  if (memoryBytes !== undefined)
    properties.push([version === 2 ? 'MemoryMax' : 'MemoryLimit', ['t', amount(memoryBytes)]]);
  if (memoryMinBytes !== undefined && version === 2) properties.push(['MemoryMin', ['t', amount(memoryMinBytes)]]);
  if (pids !== undefined) properties.push(['TasksMax', ['t', amount(pids)]]);
  return properties;
}

/** What a new slice is made with beside its limits. */
export function sliceProperties(slice: string, version: 1 | 2): UnitProperty[] {
  const parent = parentSlice(slice);
  const accounting = [
    'CPUAccounting',
    'MemoryAccounting',
    'TasksAccounting',
    version === 2 ? 'IOAccounting' : 'BlockIOAccounting',
  ];
  return [
    ['Description', ['s', `cgroup of pods ${slice}`]],
    ...(parent === undefined ? [] : [['Wants', ['as', [parent]]] as UnitProperty]),
    ['DefaultDependencies', ['b', false]],
    ...accounting.map((name): UnitProperty => [name, ['b', true]]),
  ];
}

/** The slice that this one is in, by its name: a-b.slice is in a.slice. */
export function parentSlice(slice: string): string | undefined {
  const dash = slice.lastIndexOf('-');
  return dash < 0 ? undefined : `${slice.slice(0, dash)}.slice`;
}
