// The address of a kind of object on an API server, and the shape every object shares.
import type { ListMeta, ObjectMeta } from './generated/meta-v1.ts';

/** Any API object: what client, informer and storage code may rely on without knowing the kind. */
export interface KubeObject {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: ObjectMeta & { name: string };
}

/** A list as the API server answers it. */
export interface KubeList<T> {
  apiVersion?: string;
  kind?: string;
  metadata: ListMeta;
  items: T[];
}

/** Group, version and plural of one resource; `T` ties the object type to it at compile time only. */
export interface Resource<T extends KubeObject = KubeObject> {
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly objectType?: T;
}

/** An object as a client sends it to be created: the server fills in the rest of the metadata. */
export type Draft<T> = Omit<T, 'metadata' | 'apiVersion' | 'kind'> & {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
};

/** `v1` or `group/version`, as in an object's apiVersion. */
export function apiVersionOf(resource: Pick<Resource, 'group' | 'version'>): string {
  return resource.group === '' ? resource.version : `${resource.group}/${resource.version}`;
}

/** Where one object, or with no name the collection, lives below the server's root. */
export function resourcePath(
  resource: Resource,
  key: { namespace?: string | undefined; name?: string | undefined; subresource?: string | undefined },
): string {
  const root = resource.group === '' ? `/api/${resource.version}` : `/apis/${resource.group}/${resource.version}`;
  const parts = [root];
  if (resource.namespaced && key.namespace !== undefined && key.namespace !== '') {
    parts.push('namespaces', encodeURIComponent(key.namespace));
  }
  parts.push(resource.plural);
  if (key.name !== undefined) parts.push(encodeURIComponent(key.name));
  if (key.subresource !== undefined) parts.push(key.subresource);
  return parts.join('/');
}

/** `namespace/name`, or the name alone for cluster-scoped objects: the key of caches and queues. */
export function objectKey(object: KubeObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === '' ? name : `${namespace}/${name}`;
}
