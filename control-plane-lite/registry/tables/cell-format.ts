// How single values are printed in Table cells: ages, label sets, access modes.
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { formatSelector, requirementsOf, requirementsOfMap } from '#kube/api/label-selector.ts';

const none = '<none>';

/** A duration as kubectl shows ages: two units at most, fewer the longer it is. */
export function humanDuration(durationMs: number): string {
  const seconds = Math.floor(durationMs / 1000);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 10) return seconds % 60 === 0 ? `${minutes}m` : `${minutes}m${seconds % 60}s`;
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 8) return minutes % 60 === 0 ? `${hours}h` : `${hours}h${minutes % 60}m`;
  if (hours < 48) return `${hours}h`;
  const days = Math.floor(hours / 24);
  if (days < 8) return hours % 24 === 0 ? `${days}d` : `${days}d${hours % 24}h`;
  if (days < 365 * 2) return `${days}d`;
  const years = Math.floor(days / 365);
  if (days < 365 * 8) return days % 365 === 0 ? `${years}y` : `${years}y${days % 365}d`;
  return `${years}y`;
}

/** The time since `timestamp`, or `<unknown>` for none. */
export function age(timestamp: string | null | undefined, nowMs: number): string {
  if (timestamp === undefined || timestamp === null || timestamp === '') return '<unknown>';
  return humanDuration(nowMs - Date.parse(timestamp));
}

export function orNone(text: string | undefined): string {
  return text === undefined || text === '' ? none : text;
}

export function joined(texts: readonly (string | undefined)[] | undefined): string {
  return orNone((texts ?? []).filter((text) => text !== undefined && text !== '').join(','));
}

/** The first `max` texts, and how many more there are. */
export function firstOf(texts: readonly string[], max: number): string {
  if (texts.length <= max) return joined(texts);
  return `${texts.slice(0, max).join(',')} + ${texts.length - max} more...`;
}

/** A label set as `a=b,c=d`, sorted. */
export function labelSet(labels: Record<string, string> | undefined): string {
  const keys = Object.keys(labels ?? {}).sort();
  return orNone(keys.map((key) => `${key}=${labels?.[key]}`).join(','));
}

export function selectorCell(selector: LabelSelector | undefined): string {
  return orNone(formatSelector(requirementsOf(selector) ?? []));
}

export function mapSelectorCell(selector: Record<string, string> | undefined): string {
  return orNone(formatSelector(requirementsOfMap(selector)));
}

const shortAccessModes: Record<string, string> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

export function accessModesCell(modes: readonly string[] | undefined): string {
  return Object.keys(shortAccessModes)
    .filter((mode) => modes?.includes(mode))
    .map((mode) => shortAccessModes[mode])
    .join(',');
}

/** The Containers and Images cells of a workload's wide output. */
export function containerCells(
  spec: { containers?: { name: string; image?: string | undefined }[] | undefined } | undefined,
): [string, string] {
  const containers = spec?.containers ?? [];
  return [containers.map((c) => c.name).join(','), containers.map((c) => c.image ?? '').join(',')];
}
