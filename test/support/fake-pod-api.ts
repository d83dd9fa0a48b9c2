// The part of an API server that a node's pods need: it stores one pod, applies patches to its status, lets it be
// deleted, and remembers every version a watcher would have seen.

import type { Pod } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { applyStrategicMergePatch } from '../../control-plane-lite/patch/strategic-merge-patch.ts';
import { loadSchema } from '../../control-plane-lite/registry/schema.ts';

export interface SeenVersion {
  event: 'ADDED' | 'MODIFIED' | 'DELETED';
  deleting: boolean;
  status: unknown;
}

/** What a watch tells the node. */
export interface PodWatcher {
  changed: (pod: Pod) => void;
  deleted: (pod: Pod) => void;
}

export interface FakePodApi {
  client: ApiClient;
  seen: SeenVersion[];
  current(): Pod | undefined;
  /** From now on somebody else watches. */
  tell(told: PodWatcher): void;
  /** As `kubectl delete`. */
  requestDeletion(nowMs: number): void;
}

const podType = loadSchema().typeOf({ group: '', version: 'v1', kind: 'Pod' });

/** Starts with the pod stored. */
export function createFakePodApi(pod: Pod, watcher: PodWatcher): FakePodApi {
  let told = watcher;
  let stored: Pod | undefined = pod;
  const seen: SeenVersion[] = [];
  const remember = (event: SeenVersion['event'], version: Pod) => {
    const deleting = version.metadata.deletionTimestamp !== undefined;
    seen.push({ event, deleting, status: structuredClone(version.status) });
  };
  remember('ADDED', pod);
  const absent = () => failure(404, 'NotFound', `pods "${pod.metadata.name}" not found`);
  const unused = (): never => {
    throw new Error('this call is not part of the test');
  };
  const client: ApiClient = {
    get: unused,
    list: unused,
    watch: unused,
    create: unused,
    createSubresource: async (_resource, _key, _subresource, body) =>
      ({ ...(body as object), status: { token: 'a-token', expirationTimestamp: '2030-01-01T00:00:00Z' } }) as never,
    update: unused,
    updateSubresource: unused,
    updateScale: unused,
    async patch(_resource, _key, _type, patch) {
      if (stored === undefined) throw absent();
      const before = JSON.stringify(stored.status);
      stored = applyStrategicMergePatch(stored, patch, podType) as Pod;
      if (JSON.stringify(stored.status) !== before) {
        remember('MODIFIED', stored);
        told.changed(stored);
      }
      return stored as never;
    },
    async delete() {
      if (stored === undefined) throw absent();
      const last = stored;
      stored = undefined;
      remember('DELETED', last);
      told.deleted(last);
    },
    deleteCollection: unused,
    raw: unused,
    close: async () => undefined,
  };
  return {
    client,
    seen,
    current: () => stored,
    tell(next) {
      told = next;
    },
    requestDeletion(nowMs) {
      if (stored === undefined) return;
      const { metadata, spec } = stored;
      stored = {
        ...stored,
        metadata: {
          ...metadata,
          generation: (metadata.generation ?? 0) + 1,
          deletionTimestamp: formatTime(nowMs),
          deletionGracePeriodSeconds: spec.terminationGracePeriodSeconds ?? 30,
        },
      };
      remember('MODIFIED', stored);
      told.changed(stored);
    },
  };
}
