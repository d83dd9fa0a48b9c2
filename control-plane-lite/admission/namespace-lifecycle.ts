// NamespaceLifecycle: nothing is created where there is no namespace, or in one that is going away.
import { namespaces } from '#kube/api/generated/resources.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import { forbidden, notFound } from '../registry/status-errors.ts';
import type { AdmissionPlugin } from './plugin.ts';

export const namespaceLifecycle: AdmissionPlugin = {
  name: 'NamespaceLifecycle',
  mutate: ({ verb, namespace, objects, served, name, subresource }) => {
    if (verb !== 'create' || namespace === '' || subresource !== '') return;
    const found = objects.get(namespaces, '', namespace);
    if (found === undefined) throw notFound(namespaces, namespace);
    if (found.metadata.deletionTimestamp === undefined) return;
    const why = `unable to create new content in namespace ${namespace} because it is being terminated`;
    const { status } = forbidden(served.resource, name, why);
    const cause = {
      reason: 'NamespaceTerminating',
      message: `namespace ${namespace} is being terminated`,
      field: 'metadata.namespace',
    };
    throw new StatusError({ ...status, details: { ...status.details, causes: [cause] } });
  },
};
