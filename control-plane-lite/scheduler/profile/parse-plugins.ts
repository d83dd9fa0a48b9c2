// Which plugins a profile has at which point, and with what weight: upstream's rules for enabled, disabled, `*` and
// multiPoint.
import { UsageError } from '#kube/process/flags.ts';
import { filterPlugins, fixedPlugins, type ProfileConfig, scoringPlugins } from './profile-config.ts';

interface PluginRef {
  name: string;
  weight?: number;
}

/** The part of a profile's `plugins` for one extension point. */
export interface PluginSet {
  enabled?: PluginRef[] | null;
  disabled?: PluginRef[] | null;
}

export type PluginSets = Readonly<Record<string, PluginSet | null | undefined>>;

/** Plugins of upstream that do nothing here: they may be switched off. */
const absentPlugins = ['NodeDeclaredFeatures', 'GangScheduling', 'DeferredPodScheduling'];
const known = new Set<string>([...filterPlugins, ...Object.keys(scoringPlugins), ...fixedPlugins]);

/** At which point a plugin that filters or acts can be switched. */
const pointsOf: Readonly<Record<string, readonly string[]>> = {
  DefaultPreemption: ['postFilter'],
  SchedulingGates: ['preEnqueue'],
  PrioritySort: ['queueSort'],
  DefaultBinder: ['bind'],
};
const filterPoints = ['filter', 'preFilter'];

function checkNames(at: string, sets: PluginSets): void {
  for (const [point, set] of Object.entries(sets)) {
    const seen = new Set<string>();
    for (const { name, weight = 0 } of set?.enabled ?? []) {
      const path = `${at}.${point}.enabled`;
      if (absentPlugins.includes(name)) throw new UsageError(`${path}: the plugin ${name} is not built in`);
      if (!known.has(name)) throw new UsageError(`${path}: unknown plugin ${JSON.stringify(name)}`);
      if (seen.has(name)) throw new UsageError(`${path}: plugin ${name} is named twice`);
      if (!Number.isInteger(weight) || weight < 0 || weight > 1_000_000) {
        throw new UsageError(`${path}: the weight of ${name} is a whole number, not ${weight}`);
      }
      seen.add(name);
    }
    for (const { name } of set?.disabled ?? []) {
      if (name === '*' || known.has(name) || absentPlugins.includes(name)) continue;
      throw new UsageError(`${at}.${point}.disabled: unknown plugin ${JSON.stringify(name)}`);
    }
  }
}

function isNamed(refs: PluginRef[] | null | undefined, name: string, withAll = false): boolean {
  return (refs ?? []).some((ref) => ref.name === name || (withAll && ref.name === '*'));
}

function isOn(sets: PluginSets, name: string, points: readonly string[]): boolean {
  if (points.some((point) => isNamed(sets[point]?.enabled, name))) return true;
  if (points.some((point) => isNamed(sets[point]?.disabled, name, true))) return false;
  const { multiPoint } = sets;
  return isNamed(multiPoint?.enabled, name) || !isNamed(multiPoint?.disabled, name, true);
}

function weightOf(sets: PluginSets, name: string): number {
  const own = (sets['score']?.enabled ?? []).find((ref) => ref.name === name);
  if (own !== undefined) return own.weight || 1;
  const general = (sets['multiPoint']?.enabled ?? []).find((ref) => ref.name === name);
  return general?.weight || (scoringPlugins[name] ?? 1);
}

/** Applies a profile's `plugins`. `at` is its place in the file, for errors. */
export function parsePlugins(at: string, sets: PluginSets): Pick<ProfileConfig, 'filters' | 'scores'> {
  checkNames(at, sets);
  for (const name of fixedPlugins) {
    if (!isOn(sets, name, pointsOf[name] ?? [])) throw new UsageError(`${at}: ${name} cannot be switched off`);
  }
  const filters = filterPlugins.filter((name) => isOn(sets, name, pointsOf[name] ?? filterPoints));
  const scoring = [...Object.keys(scoringPlugins), 'VolumeBinding'].filter((name) => isOn(sets, name, ['score']));
  return { filters: new Set(filters), scores: new Map(scoring.map((name) => [name, weightOf(sets, name)])) };
}
