// What a replica set needs: pods to create, pods to delete, and its status. Pure.
// Behaviour: upstream's pkg/controller/replicaset.
import type { ReplicaSet, ReplicaSetStatus } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { requirementsOfMap, selectorMatches } from '#kube/api/label-selector.ts';
import { isPodActive, isPodAvailable, isPodReady, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { formatTime } from '#kube/api/time.ts';
import { omitZeros } from '../omit-zeros.ts';
import { selectPodsToDelete } from './rank-pods.ts';

/** At most this many pods are created or deleted in one go. */
const burstReplicas = 500;

export interface ReplicaPlan {
  create: number;
  delete: Pod[];
}

/** Compares the replicas wanted with the active pods. `podsOnNode`: see selectPodsToDelete. */
export function planReplicas(
  replicaSet: ReplicaSet,
  pods: readonly Pod[],
  podsOnNode: ReadonlyMap<string, number>,
  nowMs: number,
): ReplicaPlan {
  if (replicaSet.metadata.deletionTimestamp !== undefined) return { create: 0, delete: [] };
  const active = pods.filter(isPodActive);
  const missing = (replicaSet.spec.replicas ?? 1) - active.length;
  if (missing >= 0) return { create: Math.min(missing, burstReplicas), delete: [] };
  return { create: 0, delete: selectPodsToDelete(active, Math.min(-missing, burstReplicas), podsOnNode, nowMs) };
}

/** What went wrong when the plan was carried out. */
export interface ReplicaFailure {
  reason: 'FailedCreate' | 'FailedDelete';
  message: string;
}

/** The status that follows from the pods. */
export function computeReplicaSetStatus(
  replicaSet: ReplicaSet,
  pods: readonly Pod[],
  failure: ReplicaFailure | undefined,
  nowMs: number,
): ReplicaSetStatus {
  const active = pods.filter(isPodActive);
  const templateLabels = requirementsOfMap(replicaSet.spec.template?.metadata?.labels);
  const minReadySeconds = replicaSet.spec.minReadySeconds ?? 0;
  const previous = replicaSet.status?.conditions ?? [];
  const others = previous.filter(({ type }) => type !== 'ReplicaFailure');
  const failing = previous.find(({ type }) => type === 'ReplicaFailure');
  const conditions =
    failure === undefined
      ? others
      : [
          ...others,
          failing ?? { type: 'ReplicaFailure', status: 'True', ...failure, lastTransitionTime: formatTime(nowMs) },
        ];
  const status: ReplicaSetStatus = {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) => selectorMatches(templateLabels, pod.metadata.labels)).length,
    readyReplicas: active.filter(isPodReady).length,
    availableReplicas: active.filter((pod) => isPodAvailable(pod, minReadySeconds, nowMs)).length,
    terminatingReplicas: pods.filter((pod) => isPodTerminating(pod) && !isPodTerminal(pod)).length,
    observedGeneration: replicaSet.metadata.generation,
    ...(conditions.length === 0 ? {} : { conditions }),
  };
  return omitZeros(status, ['fullyLabeledReplicas', 'readyReplicas', 'availableReplicas', 'observedGeneration']);
}
