// Filters and scores that depend on the node's object alone: its name, taints, labels, and whether it is cordoned.
import type { PreferredSchedulingTerm, Taint } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows, nodeAffinityWeight } from '#kube/api/node-affinity.ts';
import { firstUntolerated, isTolerated, taintUnschedulable } from '#kube/api/taints.ts';
import type { Plugin } from '../framework/plugin.ts';

const cordon: Taint = { key: taintUnschedulable, effect: 'NoSchedule' };

/** Cordoned nodes. */
export const nodeUnschedulable: Plugin = {
  name: 'NodeUnschedulable',
  filter: ({ pod }, { node }) =>
    node.spec?.unschedulable === true && !isTolerated(cordon, pod.spec?.tolerations)
      ? { reasons: ['node(s) were unschedulable'], resolvable: false }
      : undefined,
};

/** Pods that name their node. */
export const nodeName: Plugin = {
  name: 'NodeName',
  filter: ({ pod }, { name }) => {
    const wanted = pod.spec?.nodeName ?? '';
    return wanted !== '' && wanted !== name
      ? { reasons: ["node(s) didn't match the requested node name"], resolvable: false }
      : undefined;
  },
};

/** Hard taints refuse, soft ones rank lower. */
export const taintToleration: Plugin = {
  name: 'TaintToleration',
  weight: 3,
  filter: ({ pod }, { node }) =>
    firstUntolerated(node.spec?.taints, pod.spec?.tolerations, ['NoSchedule', 'NoExecute']) === undefined
      ? undefined
      : { reasons: ['node(s) had untolerated taint(s)'], resolvable: false },
  score: ({ pod }, { node }) => {
    const soft = (node.spec?.taints ?? []).filter(({ effect }) => effect === 'PreferNoSchedule');
    const untolerated = soft.filter((taint) => !isTolerated(taint, pod.spec?.tolerations)).length;
    return 100 / (1 + untolerated);
  },
};

function preferredTerms(terms: readonly PreferredSchedulingTerm[] | undefined): PreferredSchedulingTerm[] {
  return (terms ?? []).filter(({ weight }) => weight > 0);
}

/** nodeSelector and required affinity refuse, preferred affinity ranks. */
export const nodeAffinity: Plugin = {
  name: 'NodeAffinity',
  weight: 2,
  filter: ({ pod }, { node }) =>
    pod.spec === undefined || nodeAffinityAllows(pod.spec, node)
      ? undefined
      : { reasons: ["node(s) didn't match Pod's node affinity/selector"], resolvable: false },
  score: ({ pod }, { node }) => {
    const terms = preferredTerms(pod.spec?.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution);
    if (terms.length === 0) return 0;
    const total = terms.reduce((sum, { weight }) => sum + weight, 0);
    return (100 * nodeAffinityWeight(terms, node)) / total;
  },
};
