// Makes the plugins of a profile.
import type { Plugin } from '../framework/plugin.ts';
import type { Profile } from '../framework/profile.ts';
import { groupSpread } from '../plugins/group-spread.ts';
import { createImageLocality, type ImageView } from '../plugins/image-locality.ts';
import { createNodeAffinity, nodeName, nodeUnschedulable, taintToleration } from '../plugins/node-constraints.ts';
import { nodePorts } from '../plugins/node-ports.ts';
import { createNodeResourcesBalanced, createNodeResourcesFit } from '../plugins/node-resources.ts';
import { volumePlugins } from '../volumes/plan-volumes.ts';
import type { ProfileConfig } from './profile-config.ts';

/** The plugin as far as the profile wants it; undefined when it does nothing. */
function enabled(plugin: Plugin, { filters, scores }: ProfileConfig): Plugin | undefined {
  const weight = scores.get(plugin.name) ?? 0;
  const { filter, score, normalise } = plugin;
  const filtering = filter !== undefined && filters.has(plugin.name) ? { filter } : {};
  const scoring =
    score === undefined || weight === 0 ? {} : { score, weight, ...(normalise === undefined ? {} : { normalise }) };
  if (Object.keys(filtering).length + Object.keys(scoring).length === 0) return undefined;
  return { name: plugin.name, ...filtering, ...scoring };
}

/** The profile over one cluster. */
export function createProfile(config: ProfileConfig, cluster: ImageView): Profile {
  const { schedulerName, filters, scores, args } = config;
  const isSystemSpread = args.defaultConstraints === undefined;
  // In the order in which refusals are reported.
  const all: Plugin[] = [
    nodeUnschedulable,
    nodeName,
    taintToleration,
    createNodeAffinity(args.addedAffinity),
    nodePorts,
    createNodeResourcesFit(args.fit),
    createNodeResourcesBalanced(args.balanced),
    createImageLocality(cluster),
    ...(isSystemSpread ? [groupSpread] : []),
  ];
  const spreadWeight = scores.get('PodTopologySpread') ?? 0;
  const bindingWeight = scores.get('VolumeBinding') ?? 0;
  return {
    schedulerName,
    plugins: all.flatMap((plugin) => enabled(plugin, config) ?? []),
    zoneWeight: isSystemSpread ? spreadWeight / 2 : 0,
    spread: {
      filter: filters.has('PodTopologySpread'),
      weight: spreadWeight,
      defaults: args.defaultConstraints ?? [],
    },
    interPod: {
      filter: filters.has('InterPodAffinity'),
      weight: scores.get('InterPodAffinity') ?? 0,
      ...args.interPod,
    },
    volumes: {
      plugins: new Set(volumePlugins.filter((name) => filters.has(name))),
      bindTimeoutMs: args.volumeBinding.bindTimeoutMs,
      scoring:
        bindingWeight > 0 && args.volumeBinding.shape.length > 0
          ? { weight: bindingWeight, shape: args.volumeBinding.shape }
          : undefined,
    },
    preemption: filters.has('DefaultPreemption') ? args.preemption : undefined,
    devices: filters.has('DynamicResources'),
    gates: filters.has('SchedulingGates'),
  };
}
