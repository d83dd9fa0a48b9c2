// What a DaemonSet needs next: pods to create and delete on nodes, the rolling update, and its status. Pure.
// Behaviour: upstream's pkg/controller/daemon.
import type { DaemonSet, DaemonSetStatus } from '#kube/api/generated/apps-v1.ts';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { scaledIntOrPercent } from '#kube/api/int-or-string.ts';
import { isPodAvailable, isPodReady, isPodTerminating } from '#kube/api/pod-state.ts';
import { omitZeros } from '../omit-zeros.ts';
import { revisionHashLabel } from '../revisions/revisions.ts';
import { daemonFit, daemonNodeOf } from './daemon-pods.ts';

const maxPerSync = 250;

export interface DaemonPlan {
  /** Nodes that get a pod of the newest revision. */
  create: string[];
  delete: Pod[];
  /** Failed pods among those to delete, for the event. */
  failed: Pod[];
  /** Pods among those to delete that may go because they are not ready: whoever deletes them looks again first. */
  unready: Pod[];
}

function byNode(pods: readonly Pod[]): Map<string, Pod[]> {
  const grouped = new Map<string, Pod[]>();
  for (const pod of pods) {
    const name = daemonNodeOf(pod);
    grouped.set(name, [...(grouped.get(name) ?? []), pod]);
  }
  return grouped;
}

const age = (pod: Pod) => pod.metadata.creationTimestamp ?? '';
const isOfRevision = (pod: Pod, hash: string) => pod.metadata.labels?.[revisionHashLabel] === hash;

/** Limits of a rolling update in pods. */
function updateBounds(daemonSet: DaemonSet, desired: number): { surge: number; unavailable: number } {
  const { maxSurge = 0, maxUnavailable = 1 } = daemonSet.spec.updateStrategy?.rollingUpdate ?? {};
  const surge = scaledIntOrPercent(maxSurge, desired, 'up');
  const unavailable = scaledIntOrPercent(maxUnavailable, desired, 'up');
  return { surge, unavailable: surge === 0 && unavailable === 0 ? 1 : unavailable };
}

/** One pod on every node that should have one, none elsewhere; failed pods are replaced. */
function planPlacement(
  daemonSet: DaemonSet,
  nodes: readonly Node[],
  grouped: Map<string, Pod[]>,
  surging: boolean,
): DaemonPlan {
  const plan: DaemonPlan = { create: [], delete: [], failed: [], unready: [] };
  const known = new Set(nodes.map(({ metadata }) => metadata.name));
  for (const node of nodes) {
    const { name } = node.metadata;
    const pods = (grouped.get(name) ?? []).filter((pod) => !isPodTerminating(pod));
    const leaving = (grouped.get(name) ?? []).some(isPodTerminating);
    const { shouldRun, mayContinue } = daemonFit(daemonSet, node);
    if (!mayContinue) {
      plan.delete.push(...pods);
      continue;
    }
    const failed = pods.filter(({ status }) => status?.phase === 'Failed');
    plan.failed.push(...failed);
    plan.delete.push(...failed);
    const running = pods.filter((pod) => !failed.includes(pod)).sort((a, b) => (age(a) < age(b) ? -1 : 1));
    if (running.length === 0 && failed.length === 0 && shouldRun && !leaving) plan.create.push(name);
    if (running.length > 1 && !surging) plan.delete.push(...running.slice(1));
  }
  // Pods meant for nodes that are gone and that were never placed.
  for (const [name, pods] of grouped) {
    if (!known.has(name))
      plan.delete.push(...pods.filter((pod) => !isPodTerminating(pod) && (pod.spec?.nodeName ?? '') === ''));
  }
  return plan;
}

/** The next pods to replace in a rolling update, within its limits. */
function planUpdate(
  daemonSet: DaemonSet,
  nodes: readonly Node[],
  grouped: Map<string, Pod[]>,
  hash: string,
  nowMs: number,
): DaemonPlan {
  const plan: DaemonPlan = { create: [], delete: [], failed: [], unready: [] };
  const targets = nodes.filter((node) => daemonFit(daemonSet, node).shouldRun);
  const { surge, unavailable } = updateBounds(daemonSet, targets.length);
  const minReadySeconds = daemonSet.spec.minReadySeconds ?? 0;
  const available = (pod: Pod | undefined) =>
    pod !== undefined && isPodAvailable(pod, minReadySeconds, nowMs) && !isPodTerminating(pod);
  let missing = 0;
  let surged = 0;
  const replaceable: Pod[] = [];
  const surgeable: string[] = [];
  for (const { metadata } of targets) {
    const pods = (grouped.get(metadata.name) ?? []).filter((pod) => !isPodTerminating(pod));
    const fresh = pods.find((pod) => isOfRevision(pod, hash));
    const old = pods.find((pod) => !isOfRevision(pod, hash));
    if (!available(fresh) && !available(old)) missing += 1;
    if (fresh !== undefined && old !== undefined) {
      if (available(fresh) || !available(old)) plan.delete.push(old);
      else surged += 1;
    } else if (fresh === undefined && old !== undefined) {
      if (!available(old) && surge === 0) {
        plan.delete.push(old);
        plan.unready.push(old);
      } else if (surge > 0) surgeable.push(metadata.name);
      else replaceable.push(old);
    }
  }
  plan.create.push(...surgeable.slice(0, Math.max(0, surge - surged)));
  if (surge === 0) plan.delete.push(...replaceable.slice(0, Math.max(0, unavailable - missing)));
  return plan;
}

/** `pods` are the set's own; `hash` is the newest revision's. */
export function planDaemonSet(
  daemonSet: DaemonSet,
  nodes: readonly Node[],
  pods: readonly Pod[],
  hash: string,
  nowMs: number,
): DaemonPlan {
  if (daemonSet.metadata.deletionTimestamp !== undefined) return { create: [], delete: [], failed: [], unready: [] };
  const grouped = byNode(pods);
  const rolling = (daemonSet.spec.updateStrategy?.type ?? 'RollingUpdate') === 'RollingUpdate';
  const surging = rolling && updateBounds(daemonSet, nodes.length).surge > 0;
  const placement = planPlacement(daemonSet, nodes, grouped, surging);
  const settled = placement.create.length === 0 && placement.delete.length === 0;
  const update = rolling && settled ? planUpdate(daemonSet, nodes, grouped, hash, nowMs) : undefined;
  return {
    create: [...placement.create, ...(update?.create ?? [])].slice(0, maxPerSync),
    delete: [...placement.delete, ...(update?.delete ?? [])].slice(0, maxPerSync),
    failed: placement.failed,
    unready: update?.unready ?? [],
  };
}

/** The status that follows from nodes and pods. */
export function computeDaemonSetStatus(
  daemonSet: DaemonSet,
  nodes: readonly Node[],
  pods: readonly Pod[],
  hash: string,
  nowMs: number,
): DaemonSetStatus {
  const grouped = byNode(pods);
  const minReadySeconds = daemonSet.spec.minReadySeconds ?? 0;
  const status: DaemonSetStatus = {
    desiredNumberScheduled: 0,
    currentNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 0,
    updatedNumberScheduled: 0,
    numberAvailable: 0,
    numberUnavailable: 0,
    observedGeneration: daemonSet.metadata.generation,
    ...(daemonSet.status?.collisionCount === undefined ? {} : { collisionCount: daemonSet.status.collisionCount }),
  };
  for (const node of nodes) {
    const own = (grouped.get(node.metadata.name) ?? []).filter((pod) => !isPodTerminating(pod));
    const newestFirst = [...own].sort(
      (a, b) => Number(isPodReady(b)) - Number(isPodReady(a)) || (age(a) < age(b) ? -1 : 1),
    );
    const pod = newestFirst[0];
    if (!daemonFit(daemonSet, node).shouldRun) {
      if (pod !== undefined) status.numberMisscheduled += 1;
      continue;
    }
    status.desiredNumberScheduled += 1;
    if (pod === undefined) continue;
    status.currentNumberScheduled += 1;
    if (isPodReady(pod)) status.numberReady += 1;
    if (isPodAvailable(pod, minReadySeconds, nowMs)) status.numberAvailable = (status.numberAvailable ?? 0) + 1;
    if (own.some((candidate) => isOfRevision(candidate, hash))) {
      status.updatedNumberScheduled = (status.updatedNumberScheduled ?? 0) + 1;
    }
  }
  status.numberUnavailable = status.desiredNumberScheduled - (status.numberAvailable ?? 0);
  return omitZeros(status, ['updatedNumberScheduled', 'numberAvailable', 'numberUnavailable', 'observedGeneration']);
}
