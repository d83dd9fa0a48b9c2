// An admission request as webhooks and policies see it: in the version of the request, or in an equivalent one.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ResourceTable, ServedResource } from '../../registry/resource-table.ts';
import { type Obtained, obtain } from '../../registry/shown-entries.ts';
import type { Steps } from '../../registry/steps.ts';
import { fromStored, toStored } from '../../registry/stored-version.ts';
import { serialiseAround } from '../../storage/object-bytes.ts';
import type { AdmissionRequest } from '../plugin.ts';

export interface GroupVersionKind {
  group: string;
  version: string;
  kind: string;
}

export interface AdmissionAttributes {
  operation: 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';
  served: ServedResource;
  subresource: string;
  kind: GroupVersionKind;
  name: string;
  namespace: string;
  object: KubeObject | undefined;
  oldObject: KubeObject | undefined;
  request: AdmissionRequest;
}

const operations = { create: 'CREATE', update: 'UPDATE', delete: 'DELETE', connect: 'CONNECT' } as const;
/** Subresources that are created, although what they change is there already. */
const created = new Set(['binding', 'eviction', 'token']);

/** Configuration of admission itself is never subject to webhooks and policies: a mistake there must be mendable. */
export function isExempt({ served: { resource } }: AdmissionRequest): boolean {
  return resource.group === 'admissionregistration.k8s.io';
}

interface Scaled {
  spec?: { replicas?: number };
  status?: { replicas?: number };
}

/** What is posted to a subresource that changes another object. */
function shownAs(object: KubeObject, subresource: string): KubeObject {
  const { name, namespace, uid, resourceVersion } = object.metadata;
  if (subresource === 'scale') {
    const { spec, status } = object as KubeObject & Scaled;
    const metadata = { name, namespace, uid, resourceVersion };
    return {
      kind: 'Scale',
      apiVersion: 'autoscaling/v1',
      metadata,
      spec: { replicas: spec?.replicas ?? 0 },
      status: { replicas: status?.replicas ?? 0 },
    } as unknown as KubeObject;
  }
  const target = { kind: 'Node', name: (object as KubeObject & { spec?: { nodeName?: string } }).spec?.nodeName ?? '' };
  return { kind: 'Binding', apiVersion: 'v1', metadata: { name, namespace }, target } as unknown as KubeObject;
}

/** The objects of a request are those that are stored; subresources like scale are shown as what they are posted as. */
export function attributesOfRequest(request: AdmissionRequest): AdmissionAttributes {
  const { served, subresource, verb } = request;
  const sub = served.subresources.get(subresource);
  const isOther = subresource === 'scale' || subresource === 'binding';
  const shown = (object: KubeObject | undefined): KubeObject | undefined => {
    if (object === undefined) return undefined;
    if (isOther) return shownAs(object, subresource);
    return created.has(subresource) || verb === 'connect' ? object : fromStored(served, object);
  };
  const isCreated = created.has(subresource);
  return {
    operation: isCreated ? 'CREATE' : operations[verb],
    served,
    subresource,
    kind: sub === undefined ? served.resource : { group: sub.group, version: sub.version, kind: sub.kind },
    name: request.name,
    namespace: request.namespace,
    object: shown(request.object),
    oldObject: isCreated ? undefined : shown(request.previous),
    request,
  };
}

/** Other versions of the resource of a request, in the order of discovery. */
export function equivalentResources(
  table: ResourceTable,
  { served, subresource }: AdmissionAttributes,
): ServedResource[] {
  if (served.storagePrefix === '') return [];
  return table.all.filter(
    (other) =>
      other !== served &&
      other.storagePrefix === served.storagePrefix &&
      (subresource === '' || other.subresources.has(subresource)),
  );
}

function converted(object: KubeObject, from: ServedResource, to: ServedResource): Obtained<KubeObject> {
  if (from.view === undefined || to.view === undefined) {
    return fromStored(to, toStored(from, structuredClone(object)));
  }
  const { view } = to;
  const show = (stored: KubeObject): Obtained<KubeObject> => {
    const { head, tail } = serialiseAround(stored);
    const entry = { key: '', revision: 0, value: Buffer.from(`${head}${tail}`) };
    const shown = view.show([entry]);
    const read = (entries: readonly { value: Buffer }[]): KubeObject => {
      const value = entries[0]?.value ?? entry.value;
      const result = JSON.parse(value.toString()) as KubeObject;
      const { resourceVersion } = object.metadata;
      const { resourceVersion: _, ...metadata } = result.metadata;
      return { ...result, metadata: { ...metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) } };
    };
    return typeof shown === 'function' ? async () => read(await shown()) : read(shown);
  };
  const stored = from.view.toStorage(object);
  if (typeof stored !== 'function') return show(stored);
  return async () => {
    const shown = show(await stored());
    return typeof shown === 'function' ? await shown() : shown;
  };
}

/** The attributes in another version of the resource. */
export function* attributesIn(attributes: AdmissionAttributes, target: ServedResource): Steps<AdmissionAttributes> {
  const { served, subresource } = attributes;
  if (target === served) return attributes;
  // What is posted to scale and the like has a kind of its own in all versions.
  if (subresource !== '' && subresource !== 'status') return { ...attributes, served: target };
  const convert = function* (object: KubeObject | undefined): Steps<KubeObject | undefined> {
    return object === undefined ? undefined : yield* obtain(converted(object, served, target));
  };
  return {
    ...attributes,
    served: target,
    kind: target.resource,
    object: yield* convert(attributes.object),
    oldObject: yield* convert(attributes.oldObject),
  };
}

/** The object in the version of the request, from another one. */
export function* objectBack(object: KubeObject, from: ServedResource, to: ServedResource): Steps<KubeObject> {
  return from === to ? object : yield* obtain(converted(object, from, to));
}

/** Names a resource as reviews do. */
export function groupVersionResource({ group, version, plural }: Resource): {
  group: string;
  version: string;
  resource: string;
} {
  return { group, version, resource: plural };
}
