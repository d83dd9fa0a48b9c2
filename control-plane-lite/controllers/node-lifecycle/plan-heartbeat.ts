// Whether a node's agent is alive, and the conditions of one that is not. Pure.
// Behaviour and texts: upstream's node_lifecycle_controller.go.
import { findCondition } from '#kube/api/conditions.ts';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { Node, NodeCondition } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';

/** What was last seen of a node, and when by the local clock: clocks of nodes are not trusted. */
export interface Heartbeat {
  seen: string;
  atMs: number;
}

export interface HeartbeatLimits {
  /** Silence after which a node is Unknown. */
  graceMs: number;
  /** The same for a node that never reported. */
  startupGraceMs: number;
}

/** The heartbeat after looking at node and lease again. */
export function observeHeartbeat(
  previous: Heartbeat | undefined,
  node: Node,
  lease: Lease | undefined,
  nowMs: number,
): Heartbeat {
  const conditions = (node.status?.conditions ?? []).map(({ type, status, lastHeartbeatTime }) => [
    type,
    status,
    lastHeartbeatTime,
  ]);
  const seen = JSON.stringify([lease?.spec?.renewTime, conditions]);
  return previous?.seen === seen ? previous : { seen, atMs: nowMs };
}

const judged = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

/** The conditions of a node that has been silent too long, or undefined when nothing is to be written. */
export function planSilence(
  node: Node,
  heartbeat: Heartbeat,
  limits: HeartbeatLimits,
  nowMs: number,
  wallMs: number,
): NodeCondition[] | undefined {
  const ready = findCondition(node.status?.conditions, 'Ready');
  const graceMs = ready === undefined ? limits.startupGraceMs : limits.graceMs;
  if (nowMs - heartbeat.atMs <= graceMs) return undefined;
  const conditions = node.status?.conditions ?? [];
  const now = formatTime(wallMs);
  let changed = false;
  const next = [...conditions];
  for (const type of judged) {
    const index = next.findIndex((condition) => condition.type === type);
    const current = next[index];
    if (current === undefined) {
      changed = true;
      next.push({
        type,
        status: 'Unknown',
        reason: 'NodeStatusNeverUpdated',
        message: 'Kubelet never posted node status.',
        lastHeartbeatTime: node.metadata.creationTimestamp,
        lastTransitionTime: now,
      });
    } else if (current.status !== 'Unknown') {
      changed = true;
      next[index] = {
        ...current,
        status: 'Unknown',
        reason: 'NodeStatusUnknown',
        message: 'Kubelet stopped posting node status.',
        lastTransitionTime: now,
      };
    }
  }
  return changed ? next : undefined;
}
