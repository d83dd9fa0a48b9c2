// Nodes of which somebody says that they are off, or that have been silent for long: what ran there may start elsewhere.
// Pure. Source: KEP-2268, Non-graceful node shutdown.
import { findCondition, isConditionTrue } from '#kube/api/conditions.ts';
import type { Node } from '#kube/api/generated/core-v1.ts';
import { parseTime } from '#kube/api/time.ts';

const outOfServiceTaint = 'node.kubernetes.io/out-of-service';
/** After so long without a ready node its volumes are taken from it, as in the reference. */
const longSilenceMs = 360_000;

/** The taint alone does not count: a node that is ready is not off. */
export function isNodeOutOfService(node: Node | undefined): boolean {
  const isTainted = node?.spec?.taints?.some(({ key }) => key === outOfServiceTaint) === true;
  return isTainted && !isConditionTrue(node?.status?.conditions, 'Ready');
}

/** Whether volumes may be taken from the node though it never said that it has let go of them. */
export function mayForceDetach(node: Node | undefined, nowMs: number): boolean {
  if (isNodeOutOfService(node)) return true;
  const ready = findCondition(node?.status?.conditions, 'Ready');
  if (ready === undefined || ready.status === 'True') return false;
  return nowMs - (parseTime(ready.lastTransitionTime) ?? nowMs) > longSilenceMs;
}
