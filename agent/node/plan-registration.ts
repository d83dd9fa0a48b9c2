// What a node says of itself when it registers, and what of a Node that is there already it sets again
// (pkg/kubelet/kubelet_node_status.go: initialNode, tryRegisterWithAPIServer). Pure.
import type { NodeStatus, Taint } from '#kube/api/generated/core-v1.ts';

const attachAnnotation = 'volumes.kubernetes.io/controller-managed-attach-detach';
const providedIpAnnotation = 'alpha.kubernetes.io/provided-node-ip';
const uninitialized: Taint = {
  key: 'node.cloudprovider.kubernetes.io/uninitialized',
  value: 'true',
  effect: 'NoSchedule',
};

interface Marks<V> {
  labels: Record<string, V>;
  annotations: Record<string, V>;
}

/** Annotations of the node; null: must not be there. */
export function planAnnotations(
  isExternalCloud: boolean,
  configuredIps: readonly string[],
): Record<string, string | null> {
  const provided = isExternalCloud && configuredIps.length > 0 ? configuredIps.join(',') : null;
  return { [attachAnnotation]: 'true', [providedIpAnnotation]: provided };
}

/** Taints of a new node. With a cloud provider outside nothing is scheduled there until that has seen the node. */
export function planTaints(isExternalCloud: boolean, configured: readonly Taint[]): Taint[] {
  const others = configured.filter(({ key, effect }) => key !== uninitialized.key || effect !== uninitialized.effect);
  return isExternalCloud ? [...others, uninitialized] : [...configured];
}

/** Differences to set on a Node that is there; undefined where there are none. */
export function planAdoption(
  current: Marks<string>,
  wanted: Marks<string | null>,
): Partial<Marks<string | null>> | undefined {
  const changes = (have: Record<string, string>, want: Record<string, string | null>) =>
    Object.fromEntries(Object.entries(want).filter(([key, value]) => (have[key] ?? null) !== value));
  const labels = changes(current.labels, wanted.labels);
  const annotations = changes(current.annotations, wanted.annotations);
  if (Object.keys(labels).length === 0 && Object.keys(annotations).length === 0) return undefined;
  return {
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
}

/** A patch of the status in which the addresses replace the old ones: merged by type, two of one type would be one. */
export function replacingAddresses(status: NodeStatus): object {
  if (status.addresses === undefined) return status;
  return { ...status, addresses: [{ $patch: 'replace' }, ...status.addresses] };
}

/** The annotations that must be there. */
export function presentOf(annotations: Record<string, string | null>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(annotations).flatMap(([key, value]) => (value === null ? [] : [[key, value]])),
  );
}
