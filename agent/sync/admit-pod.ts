// Whether the node takes a pod that was bound to it: enough resources, free ports, matching labels, no taint that
// keeps it away (pkg/kubelet/lifecycle/predicate.go). Pure.

import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import { amountsOf, isSidecar, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { safeSysctls } from '#kube/api/safe-sysctls.ts';
import { firstUntolerated } from '#kube/api/taints.ts';
import { unsupportedAppArmor, unsupportedByNode } from './admit-features.ts';

/** Why a pod is refused; its phase becomes Failed with this reason. */
export interface Rejection {
  reason: string;
  message: string;
}

const rejected = 'Pod was rejected: ';

function forbiddenSysctl(pod: Pod, allowedUnsafe: readonly string[]): Rejection | undefined {
  const allows = (pattern: string, name: string) =>
    pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : pattern === name;
  for (const { name } of pod.spec.securityContext?.sysctls ?? []) {
    const plain = name.replaceAll('/', '.');
    if ([...safeSysctls, ...allowedUnsafe].some((pattern) => allows(pattern, plain))) continue;
    return { reason: 'SysctlForbidden', message: `${rejected}forbidden sysctl: "${name}" not allowlisted` };
  }
  return undefined;
}

function used(pods: readonly Pod[]): ResourceAmounts {
  const sum: ResourceAmounts = new Map();
  for (const pod of pods) {
    for (const [name, amount] of podRequests(pod)) sum.set(name, (sum.get(name) ?? 0) + amount);
  }
  return sum;
}

function hostPorts(pod: Pod): string[] {
  const running = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)];
  return running.flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ hostPort, protocol = 'TCP', hostIP = '' }) =>
      hostPort === undefined || hostPort === 0 ? [] : [`${hostIP === '0.0.0.0' ? '' : hostIP}/${protocol}/${hostPort}`],
    ),
  );
}

/** The first resource of which the node has too little left for the pod; the message does not say what became of it. */
export function lackingResource(pod: Pod, allocatable: ResourceAmounts, others: readonly Pod[]): Rejection | undefined {
  const podLimit = allocatable.get('pods');
  if (podLimit !== undefined && others.length + 1 > podLimit) {
    const message = `Node didn't have enough resource: pods, requested: 1, used: ${others.length}, capacity: ${podLimit}`;
    return { reason: 'OutOfpods', message };
  }
  const taken = used(others);
  for (const [name, amount] of podRequests(pod)) {
    const capacity = allocatable.get(name);
    if (amount === 0) continue;
    // Extended resources that the node does not know may be the cluster's; others are not there.
    if (capacity === undefined && !name.startsWith('hugepages-')) continue;
    const before = taken.get(name) ?? 0;
    if (before + amount <= (capacity ?? 0)) continue;
    const message = `Node didn't have enough resource: ${name}, requested: ${amount}, used: ${before}, capacity: ${capacity ?? 0}`;
    return { reason: `OutOf${name}`, message };
  }
  return undefined;
}

/** Settings and abilities of the node. */
export interface AdmitSettings {
  /** Names of kernel settings, or beginnings of names that end with a star, that are allowed beside the safe ones. */
  allowedSysctls?: readonly string[];
  /** The kernel enforces AppArmor profiles. */
  appArmor?: boolean;
}

/** Undefined when the pod may run. `others` are the pods that use the node already. */
export function admitPod(
  pod: Pod,
  node: Node | undefined,
  others: readonly Pod[],
  { allowedSysctls = [], appArmor = true }: AdmitSettings = {},
): Rejection | undefined {
  const sysctl = forbiddenSysctl(pod, allowedSysctls);
  if (sysctl !== undefined) return sysctl;
  if (node === undefined) return undefined;
  const unsupported = unsupportedByNode(pod, node);
  if (unsupported !== undefined) return { ...unsupported, message: `${rejected}${unsupported.message}` };
  const short = lackingResource(pod, amountsOf(node.status?.allocatable), others);
  if (short !== undefined) return { ...short, message: `${rejected}${short.message}` };
  if (!nodeAffinityAllows(pod.spec, node)) {
    return {
      reason: 'NodeAffinity',
      message: `${rejected}Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector`,
    };
  }
  const takenPorts = new Set(others.flatMap(hostPorts));
  if (hostPorts(pod).some((port) => takenPorts.has(port))) {
    return {
      reason: 'NodePorts',
      message: `${rejected}Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports`,
    };
  }
  // Other taints were the scheduler's to respect.
  const taint = firstUntolerated(node.spec?.taints, pod.spec.tolerations, ['NoExecute']);
  if (taint !== undefined) {
    return {
      reason: 'TaintToleration',
      message: `${rejected}Predicate TaintToleration failed: node(s) had untolerated taint(s)`,
    };
  }
  const unenforced = unsupportedAppArmor(pod, { appArmor });
  return unenforced === undefined ? undefined : { ...unenforced, message: `${rejected}${unenforced.message}` };
}
