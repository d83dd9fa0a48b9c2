// TaintNodesByCondition: a new node takes no pods until it is known to be ready.
import type { Node } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { AdmissionPlugin } from './plugin.ts';

const notReady = { key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' };

export const taintNodesByCondition: AdmissionPlugin = {
  name: 'TaintNodesByCondition',
  mutate: ({ verb, served, object, subresource }) => {
    if (verb !== 'create' || subresource !== '' || served.stored.kind !== 'Node') return;
    const node = object as KubeObject & Node;
    const taints = node.spec?.taints ?? [];
    if (taints.some(({ key, effect }) => key === notReady.key && effect === notReady.effect)) return;
    node.spec = { ...node.spec, taints: [...taints, { ...notReady }] };
  },
};
