// What a StatefulSet does next: pods come in order, go in reverse order, and are updated from the last to the first. Pure.
// Behaviour: upstream's pkg/controller/statefulset/stateful_set_control.go.
import type { StatefulSet, StatefulSetStatus } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { scaledIntOrPercent } from '#kube/api/int-or-string.ts';
import { isPodAvailable, isPodReady, isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import { omitZeros } from '../omit-zeros.ts';
import { revisionHashLabel } from '../revisions/revisions.ts';
import { firstOrdinal, ordinalOf } from './stateful-pods.ts';

export type StatefulAction =
  | { type: 'create'; ordinal: number; revision: 'current' | 'update' }
  /** `why`: finished pods are made anew, condemned ones are too many, outdated ones come back with the new template. */
  | { type: 'delete'; pod: Pod; why: 'finished' | 'condemned' | 'outdated' };

export interface StatefulPlan {
  actions: StatefulAction[];
  status: StatefulSetStatus;
}

/** Names of the revisions that pods are of before and after the update that is going on. */
export interface RevisionNames {
  current: string;
  update: string;
}

interface Slots {
  /** By ordinal, from the first: the pod or nothing. */
  wanted: { ordinal: number; pod: Pod | undefined }[];
  /** Pods beyond the size, highest ordinal first. */
  condemned: Pod[];
}

function slotsOf(set: StatefulSet, pods: readonly Pod[]): Slots {
  const first = firstOrdinal(set);
  const byOrdinal = new Map(pods.map((pod) => [ordinalOf(set, pod) ?? -1, pod]));
  const replicas = set.spec.replicas ?? 1;
  const wanted = Array.from({ length: replicas }, (_, index) => ({
    ordinal: first + index,
    pod: byOrdinal.get(first + index),
  }));
  const condemned = [...byOrdinal]
    .filter(([ordinal]) => ordinal >= 0 && (ordinal < first || ordinal >= first + replicas))
    .sort(([a], [b]) => b - a)
    .map(([, pod]) => pod);
  return { wanted, condemned };
}

function partitionOf(set: StatefulSet): number {
  return firstOrdinal(set) + (set.spec.updateStrategy?.rollingUpdate?.partition ?? 0);
}

function isRolling(set: StatefulSet): boolean {
  return (set.spec.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
}

function revisionOf(pod: Pod): string {
  return pod.metadata.labels?.[revisionHashLabel] ?? '';
}

function computeStatus(set: StatefulSet, pods: readonly Pod[], names: RevisionNames, nowMs: number): StatefulSetStatus {
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const own = pods.filter((pod) => ordinalOf(set, pod) !== undefined);
  const lasting = own.filter((pod) => !isPodTerminating(pod));
  const status: StatefulSetStatus = {
    observedGeneration: set.metadata.generation,
    replicas: own.length,
    readyReplicas: own.filter(isPodReady).length,
    availableReplicas: own.filter((pod) => isPodAvailable(pod, minReadySeconds, nowMs)).length,
    currentReplicas: lasting.filter((pod) => revisionOf(pod) === names.current).length,
    updatedReplicas: lasting.filter((pod) => revisionOf(pod) === names.update).length,
    currentRevision: names.current,
    updateRevision: names.update,
    collisionCount: set.status?.collisionCount ?? 0,
    ...(set.status?.conditions === undefined ? {} : { conditions: set.status.conditions }),
  };
  const replicas = set.spec.replicas ?? 1;
  const done = status.updatedReplicas === replicas && status.readyReplicas === replicas && status.replicas === replicas;
  if (isRolling(set) && done) {
    status.currentReplicas = status.updatedReplicas ?? 0;
    status.currentRevision = names.update;
  }
  // availableReplicas is written even when it is zero.
  return omitZeros(status, ['observedGeneration', 'readyReplicas', 'currentReplicas', 'updatedReplicas']);
}

/** Brings the set to its size; `settled` when there is nothing left to do or to wait for. */
function planSize(
  set: StatefulSet,
  { wanted, condemned }: Slots,
  nowMs: number,
): { actions: StatefulAction[]; settled: boolean } {
  const ordered = set.spec.podManagementPolicy !== 'Parallel';
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const isHealthy = (pod: Pod) => isPodAvailable(pod, minReadySeconds, nowMs) && !isPodTerminating(pod);
  const actions: StatefulAction[] = [];
  let settled = true;
  for (const { ordinal, pod } of wanted) {
    if (pod === undefined) {
      const current = isRolling(set) && ordinal < partitionOf(set);
      actions.push({ type: 'create', ordinal, revision: current ? 'current' : 'update' });
    } else if (isPodTerminal(pod) && !isPodTerminating(pod)) {
      actions.push({ type: 'delete', pod, why: 'finished' });
    } else if (isHealthy(pod)) {
      continue;
    }
    settled = false;
    if (ordered) return { actions, settled };
  }
  const unhealthy = condemned.filter((pod) => !isHealthy(pod));
  // In order, a healthy condemned pod waits while one before it is not well.
  for (const pod of condemned) {
    settled = false;
    if (isPodTerminating(pod)) {
      if (ordered) return { actions, settled };
      continue;
    }
    if (ordered && unhealthy.length > 0 && pod !== unhealthy.at(-1) && !isHealthy(pod)) return { actions, settled };
    actions.push({ type: 'delete', pod, why: 'condemned' });
    if (ordered) return { actions, settled };
  }
  return { actions, settled };
}

/** Pods to replace in a rolling update: from the last down to the partition, as many at once as may be missing. */
function planUpdate(set: StatefulSet, { wanted }: Slots, update: string, nowMs: number): StatefulAction[] {
  const minReadySeconds = set.spec.minReadySeconds ?? 0;
  const { maxUnavailable = 1 } = set.spec.updateStrategy?.rollingUpdate ?? {};
  let allowed = Math.max(1, scaledIntOrPercent(maxUnavailable, set.spec.replicas ?? 1, 'up'));
  const actions: StatefulAction[] = [];
  for (const { ordinal, pod } of [...wanted].reverse()) {
    if (ordinal < partitionOf(set) || allowed <= 0) break;
    const outdated = pod !== undefined && revisionOf(pod) !== update && !isPodTerminating(pod);
    const healthy = pod !== undefined && !isPodTerminating(pod) && isPodAvailable(pod, minReadySeconds, nowMs);
    if (outdated) actions.push({ type: 'delete', pod, why: 'outdated' });
    if (outdated || !healthy) allowed -= 1;
  }
  return actions;
}

/** `pods` are the set's own. */
export function planStatefulSet(
  set: StatefulSet,
  pods: readonly Pod[],
  names: RevisionNames,
  nowMs: number,
): StatefulPlan {
  const status = computeStatus(set, pods, names, nowMs);
  if (set.metadata.deletionTimestamp !== undefined) return { actions: [], status };
  const slots = slotsOf(set, pods);
  const { actions, settled } = planSize(set, slots, nowMs);
  // A template that cannot become ready is replaced by the next one: an outdated pod need not be well first.
  const stuck = slots.wanted.every(({ pod }) => pod !== undefined && !isPodTerminating(pod) && !isPodTerminal(pod));
  const mayUpdate = isRolling(set) && actions.length === 0 && (settled || (stuck && slots.condemned.length === 0));
  return { actions: mayUpdate ? planUpdate(set, slots, names.update, nowMs) : actions, status };
}
