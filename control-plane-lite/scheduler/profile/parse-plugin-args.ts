// The arguments of a profile's plugins (pluginConfig), checked as upstream checks them.
import type { NodeAffinity, TopologySpreadConstraint } from '#kube/api/generated/core-v1.ts';
import { type ConfigShape, checkShape } from '#kube/process/config-file.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { FitArgs, ScoredResource } from '../plugins/node-resources.ts';
import type { ShapePoint } from '../plugins/score-shape.ts';
import { argShapes } from './config-shape.ts';
import { defaultPluginArgs, type PluginArgs } from './profile-config.ts';

type Args = Readonly<Record<string, unknown>>;

function integer(at: string, value: unknown, otherwise: number, least: number, most: number): number {
  const number = Number(value ?? otherwise);
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new UsageError(`${at} takes a whole number from ${least} to ${most}, not ${number}`);
}

function parseResources(at: string, value: unknown, otherwise: readonly ScoredResource[]): readonly ScoredResource[] {
  // Checked against its shape before.
  const list = (value ?? []) as { name?: string; weight?: number }[];
  if (list.length === 0) return otherwise;
  return list.map(({ name = '', weight }, index) => {
    if (name === '') throw new UsageError(`${at}[${index}].name is needed`);
    return { name, weight: integer(`${at}[${index}].weight`, weight || undefined, 1, 1, 100) };
  });
}

function parseShape(at: string, value: unknown): ShapePoint[] {
  const points = ((value ?? []) as Partial<ShapePoint>[]).map((point, index) => ({
    utilization: integer(`${at}[${index}].utilization`, point.utilization, 0, 0, 100),
    score: integer(`${at}[${index}].score`, point.score, 0, 0, 10),
  }));
  const isSorted = points.every(
    (point, index) => index === 0 || point.utilization > (points[index - 1]?.utilization ?? 0),
  );
  if (!isSorted) throw new UsageError(`${at}: utilization must be sorted in increasing order`);
  return points;
}

const strategies = ['LeastAllocated', 'MostAllocated', 'RequestedToCapacityRatio'] as const;

function parseFit(at: string, args: Args): FitArgs {
  const { fit } = defaultPluginArgs;
  const strategy = (args['scoringStrategy'] ?? {}) as Args;
  const type = String(strategy['type'] ?? fit.strategy);
  const known = strategies.find((name) => name === type);
  if (known === undefined) {
    throw new UsageError(`${at}.scoringStrategy.type takes ${strategies.join(', ')}, not ${JSON.stringify(type)}`);
  }
  const ratio = (strategy['requestedToCapacityRatio'] ?? {}) as Args;
  const points = parseShape(`${at}.scoringStrategy.requestedToCapacityRatio.shape`, ratio['shape']);
  if (known === 'RequestedToCapacityRatio' && points.length === 0) {
    throw new UsageError(`${at}.scoringStrategy.requestedToCapacityRatio.shape needs at least one point`);
  }
  return {
    strategy: known,
    resources: parseResources(`${at}.scoringStrategy.resources`, strategy['resources'], fit.resources),
    shape: points,
    ignoredResources: (args['ignoredResources'] ?? []) as string[],
    ignoredGroups: (args['ignoredResourceGroups'] ?? []) as string[],
  };
}

function parseConstraints(at: string, args: Args): TopologySpreadConstraint[] | undefined {
  const list = (args['defaultConstraints'] ?? []) as Partial<TopologySpreadConstraint>[];
  const type = String(args['defaultingType'] ?? 'System');
  if (type !== 'System' && type !== 'List')
    throw new UsageError(`${at}.defaultingType takes System or List, not ${type}`);
  if (type === 'System') {
    if (list.length > 0) throw new UsageError(`${at}.defaultConstraints needs defaultingType List`);
    return undefined;
  }
  return list.map((constraint, index) => {
    const { maxSkew, topologyKey, whenUnsatisfiable, labelSelector } = constraint;
    const path = `${at}.defaultConstraints[${index}]`;
    if (labelSelector !== undefined) throw new UsageError(`${path}.labelSelector must not be set: it follows the pod`);
    if (typeof topologyKey !== 'string' || topologyKey === '') throw new UsageError(`${path}.topologyKey is needed`);
    if (whenUnsatisfiable !== 'DoNotSchedule' && whenUnsatisfiable !== 'ScheduleAnyway') {
      throw new UsageError(`${path}.whenUnsatisfiable takes DoNotSchedule or ScheduleAnyway`);
    }
    return {
      ...constraint,
      topologyKey,
      whenUnsatisfiable,
      maxSkew: integer(`${path}.maxSkew`, maxSkew, 0, 1, 2 ** 31),
    };
  });
}

/** What one plugin's arguments change. */
function parseOne(at: string, plugin: string, args: Args): Partial<PluginArgs> {
  switch (plugin) {
    case 'DefaultPreemption': {
      const { minPercentage, minAbsolute } = defaultPluginArgs.preemption;
      const percent = args['minCandidateNodesPercentage'];
      const absolute = args['minCandidateNodesAbsolute'];
      const preemption = {
        minPercentage: integer(`${at}.minCandidateNodesPercentage`, percent, minPercentage, 0, 100),
        minAbsolute: integer(`${at}.minCandidateNodesAbsolute`, absolute, minAbsolute, 0, 2 ** 31),
      };
      if (preemption.minPercentage + preemption.minAbsolute === 0) {
        throw new UsageError(`${at}: minCandidateNodesPercentage and minCandidateNodesAbsolute cannot both be zero`);
      }
      return { preemption };
    }
    case 'InterPodAffinity': {
      const hardWeight = integer(`${at}.hardPodAffinityWeight`, args['hardPodAffinityWeight'], 1, 0, 100);
      return { interPod: { hardWeight, ignoreExisting: args['ignorePreferredTermsOfExistingPods'] === true } };
    }
    case 'NodeAffinity':
      return { addedAffinity: (args['addedAffinity'] ?? undefined) as NodeAffinity | undefined };
    case 'NodeResourcesBalancedAllocation':
      return { balanced: parseResources(`${at}.resources`, args['resources'], defaultPluginArgs.balanced) };
    case 'NodeResourcesFit':
      return { fit: parseFit(at, args) };
    case 'PodTopologySpread':
      return { defaultConstraints: parseConstraints(at, args) };
    case 'VolumeBinding': {
      const seconds = integer(`${at}.bindTimeoutSeconds`, args['bindTimeoutSeconds'], 600, 0, 2 ** 31);
      return { volumeBinding: { bindTimeoutMs: seconds * 1000, shape: parseShape(`${at}.shape`, args['shape']) } };
    }
    default:
      return {};
  }
}

/** `at` is the place of the list in the file. */
export function parsePluginArgs(at: string, list: readonly { name?: string; args?: unknown }[]): PluginArgs {
  let all = defaultPluginArgs;
  const seen = new Set<string>();
  for (const [index, { name = '', args }] of list.entries()) {
    const path = `${at}[${index}]`;
    const shape: { [field: string]: ConfigShape } | undefined = argShapes[name];
    if (shape === undefined) throw new UsageError(`${path}: plugin ${JSON.stringify(name)} takes no arguments`);
    if (seen.has(name)) throw new UsageError(`${path}: arguments of ${name} are given twice`);
    seen.add(name);
    const given = { ...(args as Record<string, unknown> | null | undefined) };
    const kind = String(given['kind'] ?? `${name}Args`);
    if (kind !== `${name}Args`) throw new UsageError(`${path}.args must be ${name}Args, not ${kind}`);
    checkShape(`${path}.args`, { ...shape, apiVersion: 'string', kind: 'string' }, given);
    all = { ...all, ...parseOne(`${path}.args`, name, given) };
  }
  return all;
}
