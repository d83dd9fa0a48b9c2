// The taints that a node's conditions call for. Pure.
// Behaviour: upstream's pkg/controller/nodelifecycle.
import { findCondition } from '#kube/api/conditions.ts';
import type { Node, Taint } from '#kube/api/generated/core-v1.ts';
import {
  isSameTaint,
  taintDiskPressure,
  taintMemoryPressure,
  taintNetworkUnavailable,
  taintNotReady,
  taintPidPressure,
  taintUnreachable,
  taintUnschedulable,
} from '#kube/api/taints.ts';
import { formatTime } from '#kube/api/time.ts';

const taintByCondition: [type: string, status: string, key: string][] = [
  ['Ready', 'False', taintNotReady],
  ['Ready', 'Unknown', taintUnreachable],
  ['MemoryPressure', 'True', taintMemoryPressure],
  ['DiskPressure', 'True', taintDiskPressure],
  ['PIDPressure', 'True', taintPidPressure],
  ['NetworkUnavailable', 'True', taintNetworkUnavailable],
];
const managedKeys = new Set([...taintByCondition.map(([, , key]) => key), taintUnschedulable]);
const evictingKeys = new Set([taintNotReady, taintUnreachable]);

function isManaged({ key, effect }: Taint): boolean {
  return (effect === 'NoSchedule' && managedKeys.has(key)) || (effect === 'NoExecute' && evictingKeys.has(key));
}

/** Ready as True, False or Unknown; a node that never said anything is Unknown. */
export function readyStatus(node: Node): string {
  return findCondition(node.status?.conditions, 'Ready')?.status ?? 'Unknown';
}

/**
 * The whole list of taints the node should have; undefined when it has them. `mayEvict`: whether a taint that evicts
 * pods may be put on the node now; one that is there stays while it is called for.
 */
export function planTaints(node: Node, mayEvict: boolean, nowMs: number): Taint[] | undefined {
  const current = node.spec?.taints ?? [];
  const wanted: Taint[] = [];
  for (const [type, status, key] of taintByCondition) {
    // A new node without conditions keeps the taint it was admitted with until its agent reports.
    if (findCondition(node.status?.conditions, type)?.status === status) wanted.push({ key, effect: 'NoSchedule' });
  }
  if (findCondition(node.status?.conditions, 'Ready') === undefined) {
    wanted.push(...current.filter((taint) => taint.key === taintNotReady && taint.effect === 'NoSchedule'));
  }
  if (node.spec?.unschedulable === true) wanted.push({ key: taintUnschedulable, effect: 'NoSchedule' });
  const evicting = wanted.find(({ key }) => evictingKeys.has(key))?.key;
  if (evicting !== undefined && findCondition(node.status?.conditions, 'Ready') !== undefined) {
    const alreadyEvicting = current.some(({ key, effect }) => effect === 'NoExecute' && evictingKeys.has(key));
    if (mayEvict || alreadyEvicting) wanted.push({ key: evicting, effect: 'NoExecute' });
  }
  const managed = wanted.map((taint) => {
    const known = current.find((candidate) => isSameTaint(candidate, taint));
    return known ?? { ...taint, timeAdded: formatTime(nowMs) };
  });
  const own = current.filter(isManaged);
  const same = own.length === managed.length && managed.every((taint) => own.includes(taint));
  return same ? undefined : [...current.filter((taint) => !isManaged(taint)), ...managed];
}
