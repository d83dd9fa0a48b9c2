// Fields that field selectors may name, by kind, and how list and watch read them.
// Source of the lists: the field label conversions and strategies of each API group of the reference.
import type { Resource } from '#kube/api/resource.ts';
import type { Attributes, AttributesReader } from '../storage/cache/attributes.ts';

const byKind: Record<string, readonly string[]> = {
  '/Pod': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.podIPs',
    'status.nominatedNodeName',
  ],
  '/Node': ['spec.unschedulable'],
  '/Namespace': ['status.phase'],
  '/Secret': ['type'],
  '/Service': ['spec.clusterIP', 'spec.type'],
  '/ReplicationController': ['status.replicas'],
  '/Event': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  'apps/ReplicaSet': ['status.replicas'],
  'batch/Job': ['status.successful'],
  'certificates.k8s.io/CertificateSigningRequest': ['spec.signerName'],
  'resource.k8s.io/ResourceSlice': ['spec.nodeName', 'spec.driver'],
};

// The new Event API calls the object of an event otherwise.
const aliases: Record<string, (field: string) => string> = {
  'events.k8s.io/Event': (field) =>
    field.replace(/^regarding\./, 'involvedObject.').replace(/^reportingController$/, 'reportingComponent'),
};

// A selector names these; the object has them under another name or form.
const readers: Record<string, (object: unknown) => unknown> = {
  'status.successful': (object) => read(object, ['status', 'succeeded']) ?? 0,
  source: (object) => read(object, ['source', 'component']) ?? read(object, ['reportingComponent']),
  'status.podIPs': (object) => {
    const ips = read(object, ['status', 'podIPs']);
    return Array.isArray(ips) ? ips.map((item) => read(item, ['ip'])).join(',') : '';
  },
  'status.replicas': (object) => read(object, ['status', 'replicas']) ?? 0,
  'spec.unschedulable': (object) => read(object, ['spec', 'unschedulable']) ?? false,
  'spec.hostNetwork': (object) => read(object, ['spec', 'hostNetwork']) ?? false,
};

function read(object: unknown, path: readonly string[]): unknown {
  return path.reduce<unknown>(
    (value, key) => (typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined),
    object,
  );
}

/** The stored name of a field that a selector may use on the kind, or undefined. */
export function selectableField(resource: Resource, field: string): string | undefined {
  const kind = `${resource.group}/${resource.kind}`;
  const name = aliases[kind]?.(field) ?? field;
  if (name === 'metadata.name' || (name === 'metadata.namespace' && resource.namespaced)) return name;
  const known = byKind[kind === 'events.k8s.io/Event' ? '/Event' : kind];
  return known?.includes(name) === true ? name : undefined;
}

/** Reads labels and selectable fields of the objects of a kind; `more` are those of a custom resource. */
export function attributesReaderFor(resource: Resource, more: readonly string[] = []): AttributesReader {
  const fields = [...(byKind[`${resource.group}/${resource.kind}`] ?? []), ...more].map((field) => ({
    field,
    path: field.split('.'),
    reader: readers[field],
  }));
  return (object): Attributes => {
    const metadata = (object['metadata'] ?? {}) as {
      name?: string;
      namespace?: string;
      labels?: Record<string, string>;
    };
    const values: Record<string, string> = { 'metadata.name': metadata.name ?? '' };
    if (metadata.namespace !== undefined) values['metadata.namespace'] = metadata.namespace;
    for (const { field, path, reader } of fields) {
      const value = reader === undefined ? read(object, path) : reader(object);
      if (value !== undefined && value !== null && value !== '') values[field] = String(value);
    }
    return { labels: metadata.labels, fields: values };
  };
}
