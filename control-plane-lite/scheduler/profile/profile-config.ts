// One profile of a KubeSchedulerConfiguration, decoded and with all defaults: which plugins, with which weights and
// arguments.
import type { NodeAffinity, TopologySpreadConstraint } from '#kube/api/generated/core-v1.ts';
import type { PreemptionSettings } from '../framework/profile.ts';
import {
  defaultFitArgs,
  defaultScoredResources,
  type FitArgs,
  type ScoredResource,
} from '../plugins/node-resources.ts';
import type { ShapePoint } from '../plugins/score-shape.ts';

/** What plugins take, beside being there. */
export interface PluginArgs {
  preemption: PreemptionSettings;
  interPod: { hardWeight: number; ignoreExisting: boolean };
  addedAffinity: NodeAffinity | undefined;
  fit: FitArgs;
  balanced: readonly ScoredResource[];
  /** Undefined: the system's own defaults. */
  defaultConstraints: readonly TopologySpreadConstraint[] | undefined;
  volumeBinding: { bindTimeoutMs: number; shape: readonly ShapePoint[] };
}

export interface ProfileConfig {
  schedulerName: string;
  /** Plugins that filter or act, by upstream's names. */
  filters: ReadonlySet<string>;
  /** Plugins that score, with their weights. */
  scores: ReadonlyMap<string, number>;
  args: PluginArgs;
}

/** Every plugin that scores, with upstream's default weight; none where it scores only when asked to. */
export const scoringPlugins: Readonly<Record<string, number>> = {
  TaintToleration: 3,
  NodeAffinity: 2,
  PodTopologySpread: 2,
  InterPodAffinity: 2,
  NodeResourcesFit: 1,
  NodeResourcesBalancedAllocation: 1,
  ImageLocality: 1,
};

/** Every plugin that filters or acts. What is always done (queueing by priority, binding) is listed in `fixedPlugins`. */
export const filterPlugins = [
  'NodeUnschedulable',
  'NodeName',
  'TaintToleration',
  'NodeAffinity',
  'NodePorts',
  'NodeResourcesFit',
  'VolumeRestrictions',
  'NodeVolumeLimits',
  'VolumeBinding',
  'VolumeZone',
  'PodTopologySpread',
  'InterPodAffinity',
  'DynamicResources',
  'DefaultPreemption',
  'SchedulingGates',
] as const;

/** Plugins without which nothing would be scheduled. */
export const fixedPlugins = ['PrioritySort', 'DefaultBinder'] as const;

export const defaultPluginArgs: PluginArgs = {
  preemption: { minPercentage: 10, minAbsolute: 100 },
  interPod: { hardWeight: 1, ignoreExisting: false },
  addedAffinity: undefined,
  fit: defaultFitArgs,
  balanced: defaultScoredResources,
  defaultConstraints: undefined,
  volumeBinding: { bindTimeoutMs: 600_000, shape: [] },
};

/** The profile without any configuration. */
export function defaultProfileConfig(schedulerName = 'default-scheduler'): ProfileConfig {
  return {
    schedulerName,
    filters: new Set(filterPlugins),
    scores: new Map(Object.entries(scoringPlugins)),
    args: defaultPluginArgs,
  };
}
