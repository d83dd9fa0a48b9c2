// Which cgroups enforceNodeAllocatable may name, and what each needs. Pure.
import type { Fields } from './merge-layers.ts';

const field = 'enforceNodeAllocatable (--enforce-node-allocatable)';

/** Reserved cgroups: the two ways to enforce each, and the field that names it. */
const reserved = [
  { words: ['system-reserved', 'system-reserved-compressible'], cgroup: 'systemReservedCgroup', flag: 'system' },
  { words: ['kube-reserved', 'kube-reserved-compressible'], cgroup: 'kubeReservedCgroup', flag: 'kube' },
] as const;

/** Mistakes in the enforcements. */
export function validateEnforcement(c: Fields): string[] {
  const list = Array.isArray(c['enforceNodeAllocatable']) ? c['enforceNodeAllocatable'].map(String) : [];
  const mistakes: string[] = [];
  for (const { words } of reserved) {
    const [whole, compressible] = words;
    if (list.includes(whole) && list.includes(compressible)) {
      mistakes.push(`both "${compressible}" and "${whole}" cannot be specified together in ${field}`);
    }
  }
  for (const [index, value] of list.entries()) {
    if (list.indexOf(value) < index) {
      mistakes.push(`duplicated enforcements "${value}" in ${field}`);
      continue;
    }
    if (value === 'none') {
      if (list.length > 1) {
        mistakes.push(`${field} may not contain additional enforcements when "none" is specified`);
      }
      continue;
    }
    const group = reserved.find(({ words }) => words.some((word) => word === value));
    if (group === undefined && value !== 'pods') {
      const words = ['pods', ...reserved.flatMap((item) => item.words)].map((word) => `"${word}"`).join(', ');
      mistakes.push(`option "${value}" specified for ${field}. Valid options are ${words} or "none"`);
      continue;
    }
    if (group !== undefined && (c[group.cgroup] ?? '') === '') {
      const [whole, compressible] = group.words;
      const name = `${group.cgroup} (--${group.flag}-reserved-cgroup)`;
      mistakes.push(`${name} must be specified when "${whole}" or "${compressible}" included in ${field}`);
    }
    if (c['cgroupsPerQOS'] !== true) {
      mistakes.push(`cgroupsPerQOS (--cgroups-per-qos) must be set to true when "${value}" contained in ${field}`);
    }
  }
  return mistakes;
}
