// The two kinds of object that ask for a number of equal pods, seen in one form: the ReplicaSet's.
import type { ReplicaSet } from '#kube/api/generated/apps-v1.ts';
import type { ReplicationController } from '#kube/api/generated/core-v1.ts';
import { replicasets, replicationcontrollers } from '#kube/api/generated/resources.ts';
import type { Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Informer } from '#kube/informer/types.ts';

export interface ReplicaKind {
  resource: Resource;
  sets: Pick<Informer<ReplicaSet>, 'get' | 'byNamespace' | 'byIndex' | 'subscribe'>;
  /** Writes the status of a set and returns the set as it is then. */
  writeStatus(set: ReplicaSet): Promise<ReplicaSet>;
}

/** ReplicaSets as they are. */
export function replicaSetKind(client: ApiClient, informer: Informer<ReplicaSet>): ReplicaKind {
  return {
    resource: replicasets,
    sets: informer,
    writeStatus: async (set) => client.updateSubresource(replicasets, set, 'status'),
  };
}

function asReplicaSet({ spec, status, ...rest }: ReplicationController): ReplicaSet {
  return {
    ...rest,
    spec: { ...spec, selector: { matchLabels: spec.selector ?? {} } },
    // This kind does not count pods that are on their way out.
    ...(status === undefined ? {} : { status: { ...status, terminatingReplicas: 0 } }),
  };
}

function asController({ spec, status, ...rest }: ReplicaSet): ReplicationController {
  const { terminatingReplicas: _, ...counts } = status ?? { replicas: 0 };
  return { ...rest, spec: { ...spec, selector: spec.selector.matchLabels }, status: counts };
}

/** ReplicationControllers in the form of ReplicaSets; they are converted back before they are written. */
export function replicationControllerKind(client: ApiClient, informer: Informer<ReplicationController>): ReplicaKind {
  return {
    resource: replicationcontrollers,
    sets: {
      get(key) {
        const found = informer.get(key);
        return found === undefined ? undefined : asReplicaSet(found);
      },
      byNamespace: (namespace) => informer.byNamespace(namespace).map(asReplicaSet),
      byIndex: (index, value) => informer.byIndex(index, value).map(asReplicaSet),
      subscribe: (handlers) =>
        informer.subscribe({
          added: (object) => handlers.added?.(asReplicaSet(object)),
          updated: (previous, object) => handlers.updated?.(asReplicaSet(previous), asReplicaSet(object)),
          deleted: (object) => handlers.deleted?.(asReplicaSet(object)),
        }),
    },
    writeStatus: async (set) =>
      asReplicaSet(await client.updateSubresource(replicationcontrollers, asController(set), 'status')),
  };
}
