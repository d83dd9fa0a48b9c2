// Namespaces: they wait for their content, and some may never go.
import type { Namespace } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { forbidden } from '../status-errors.ts';
import type { Strategy } from '../strategy.ts';

type NamespaceObject = KubeObject & Namespace;

const contentFinalizer = 'kubernetes';
const immortal = new Set(['default', 'kube-system', 'kube-public']);

export const namespaceStrategy: Strategy<NamespaceObject> = {
  prepareCreate: (namespace) => {
    namespace.status = { phase: 'Active' };
    const finalizers = namespace.spec?.finalizers ?? [];
    if (!finalizers.includes(contentFinalizer)) {
      namespace.spec = { ...namespace.spec, finalizers: [...finalizers, contentFinalizer] };
    }
  },
  prepareUpdate: (namespace, previous, _context, subresource) => {
    if (subresource === 'finalize') {
      if (previous.status !== undefined) namespace.status = structuredClone(previous.status);
      return;
    }
    namespace.spec = structuredClone(previous.spec ?? {});
  },
  checkDelete: ({ metadata }) => {
    if (!immortal.has(metadata.name)) return;
    throw forbidden({ group: '', plural: 'namespaces' }, metadata.name, 'this namespace may not be deleted');
  },
  beginDeletion: (namespace) => {
    namespace.status = { ...namespace.status, phase: 'Terminating' };
  },
};
