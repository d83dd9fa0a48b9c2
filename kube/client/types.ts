// The contract of the API client: every verb of the Kubernetes API, typed by resource.
// All methods throw StatusError (kube/errors) for an answer that is not 2xx, and reject with the
// signal's reason when aborted.
import type { Scale } from '../api/generated/autoscaling-v1.ts';
import type { DeleteOptions, Status } from '../api/generated/meta-v1.ts';
import type { Draft, KubeList, KubeObject, Resource } from '../api/resource.ts';

/** Which object. `namespace` is empty or absent for cluster-scoped resources. */
export interface ObjectKey {
  namespace?: string | undefined;
  name: string;
}

export interface CallOptions {
  signal?: AbortSignal | undefined;
  /** Upper bound of the whole call, retries included. */
  timeoutMs?: number | undefined;
}

export interface WriteOptions extends CallOptions {
  dryRun?: boolean | undefined;
  fieldManager?: string | undefined;
}

export interface ListOptions extends CallOptions {
  /** Absent: all namespaces. */
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  resourceVersion?: string | undefined;
  resourceVersionMatch?: 'Exact' | 'NotOlderThan' | undefined;
  /** Page size; the answer's metadata.continue goes back into `continue`. */
  limit?: number | undefined;
  continue?: string | undefined;
}

export interface WatchOptions extends ListOptions {
  allowWatchBookmarks?: boolean | undefined;
  sendInitialEvents?: boolean | undefined;
  /** How long the server may keep the watch open. */
  timeoutSeconds?: number | undefined;
}

/** One line of a watch stream. An ERROR event carries a Status instead of an object. */
export type WatchEvent<T> =
  | { type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; object: T }
  | { type: 'ERROR'; object: Status };

export type PatchType = 'merge' | 'strategic' | 'json' | 'apply';

export interface PatchOptions extends WriteOptions {
  subresource?: string | undefined;
  /** Only with `apply`: take over fields of other managers. */
  force?: boolean | undefined;
}

export interface RawRequest extends CallOptions {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query below the server's root. */
  path: string;
  /** Sent as JSON unless a string. */
  body?: unknown;
  headers?: Record<string, string>;
}

/** Everything the three components say to an API server. Built by `createClient`. */
export interface ApiClient {
  get<T extends KubeObject>(resource: Resource<T>, key: ObjectKey, options?: CallOptions): Promise<T>;
  list<T extends KubeObject>(resource: Resource<T>, options?: ListOptions): Promise<KubeList<T>>;
  /** Yields events until the server ends the stream (returns) or it breaks (throws). */
  watch<T extends KubeObject>(resource: Resource<T>, options: WatchOptions): AsyncIterable<WatchEvent<T>>;
  create<T extends KubeObject>(
    resource: Resource<T>,
    namespace: string | undefined,
    object: Draft<T>,
    options?: WriteOptions,
  ): Promise<T>;
  /** POST to a subresource of an object: binding, eviction, token. */
  createSubresource<B, R>(
    resource: Resource,
    key: ObjectKey,
    subresource: string,
    body: B,
    options?: WriteOptions,
  ): Promise<R>;
  update<T extends KubeObject>(resource: Resource<T>, object: T, options?: WriteOptions): Promise<T>;
  updateSubresource<T extends KubeObject>(
    resource: Resource<T>,
    object: T,
    subresource: string,
    options?: WriteOptions,
  ): Promise<T>;
  updateScale(resource: Resource, key: ObjectKey, scale: Scale, options?: WriteOptions): Promise<Scale>;
  patch<T extends KubeObject>(
    resource: Resource<T>,
    key: ObjectKey,
    type: PatchType,
    patch: unknown,
    options?: PatchOptions,
  ): Promise<T>;
  delete(resource: Resource, key: ObjectKey, body?: DeleteOptions, options?: WriteOptions): Promise<void>;
  deleteCollection(resource: Resource, options: ListOptions, body?: DeleteOptions): Promise<void>;
  /** Any path, decoded from JSON where the answer is JSON, else the text. */
  raw<R>(request: RawRequest): Promise<R>;
  /** Ends idle connections; calls in flight are aborted. */
  close(): Promise<void>;
}
