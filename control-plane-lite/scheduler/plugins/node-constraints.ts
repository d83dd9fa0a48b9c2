// Filters and scores that depend on the node's object alone: its name, taints, labels, and whether it is cordoned.
import type { NodeAffinity, PreferredSchedulingTerm, Taint } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows, nodeAffinityWeight, nodeSelectorMatches } from '#kube/api/node-affinity.ts';
import { firstUntolerated, isTolerated, taintUnschedulable } from '#kube/api/taints.ts';
import type { Plugin, Refusal } from '../framework/plugin.ts';

const cordon: Taint = { key: taintUnschedulable, effect: 'NoSchedule' };
const refusal = (plugin: string, reason: string): Refusal => ({ plugin, reasons: [reason], resolvable: false });
const cordoned = refusal('NodeUnschedulable', 'node(s) were unschedulable');
const otherName = refusal('NodeName', "node(s) didn't match the requested node name");
const tainted = refusal('TaintToleration', 'node(s) had untolerated taint(s)');
const unselected = refusal('NodeAffinity', "node(s) didn't match Pod's node affinity/selector");
const unselectedByProfile = refusal('NodeAffinity', "node(s) didn't match scheduler-enforced node affinity");

/** Cordoned nodes. */
export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  filter: ({ pod }, { node }) =>
    node.spec?.unschedulable === true && !isTolerated(cordon, pod.spec?.tolerations) ? cordoned : undefined,
};

/** Pods that name their node. */
export const nodeName: Plugin = {
  name: 'NodeName',
  filter: ({ pod }, { name }) => {
    const wanted = pod.spec?.nodeName ?? '';
    return wanted !== '' && wanted !== name ? otherName : undefined;
  },
};

/** Hard taints refuse, soft ones rank lower. */
export const taintToleration: Plugin = {
  name: 'TaintToleration',
  weight: 3,
  filter: ({ pod }, { node }) =>
    firstUntolerated(node.spec?.taints, pod.spec?.tolerations, ['NoSchedule', 'NoExecute']) === undefined
      ? undefined
      : tainted,
  score: ({ pod }, { node }) => {
    let untolerated = 0;
    for (const taint of node.spec?.taints ?? []) {
      if (taint.effect === 'PreferNoSchedule' && !isTolerated(taint, pod.spec?.tolerations)) untolerated += 1;
    }
    return untolerated;
  },
  normalise: (raw, highest) => (highest === 0 ? 100 : 100 - Math.floor((100 * raw) / highest)),
};

const none: readonly PreferredSchedulingTerm[] = [];

/** nodeSelector and required affinity refuse, preferred affinity ranks; `added` counts for all pods of the profile. */
export function createNodeAffinity(added?: NodeAffinity): Plugin {
  const addedPreferred = added?.preferredDuringSchedulingIgnoredDuringExecution ?? none;
  const addedRequired = added?.requiredDuringSchedulingIgnoredDuringExecution;
  return {
    name: 'NodeAffinity',
    weight: 2,
    filter: ({ pod }, { node }) => {
      if (addedRequired !== undefined && !nodeSelectorMatches(addedRequired, node)) return unselectedByProfile;
      return pod.spec === undefined || nodeAffinityAllows(pod.spec, node) ? undefined : unselected;
    },
    score: ({ pod }, { node }) => {
      const own = pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? none;
      if (own.length === 0 && addedPreferred.length === 0) return 0;
      return nodeAffinityWeight(own, node) + nodeAffinityWeight(addedPreferred, node);
    },
    normalise: (raw, highest) => (highest === 0 ? 0 : Math.floor((100 * raw) / highest)),
  };
}
