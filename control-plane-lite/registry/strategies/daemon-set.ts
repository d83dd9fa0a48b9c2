// Daemon sets: the generation of their template, kept in an annotation that old controllers read.
import type { DaemonSet } from '#kube/api/generated/apps-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isNewGeneration } from '../generation.ts';
import type { Strategy } from '../strategy.ts';

const annotation = 'deprecated.daemonset.template.generation';

export const daemonSetStrategy: Strategy<KubeObject & DaemonSet> = {
  prepareCreate: ({ metadata }) => {
    metadata.annotations = { ...metadata.annotations, [annotation]: '1' };
  },
  prepareUpdate: (set, previous, _context, subresource) => {
    if (subresource !== '') return;
    const before = Number(previous.metadata.annotations?.[annotation] ?? '1');
    const generation = isNewGeneration(set, previous) ? before + 1 : before;
    set.metadata.annotations = { ...set.metadata.annotations, [annotation]: String(generation) };
  },
};
