// Whether the node takes a pod that was bound to it: enough resources, free ports, matching labels, no taint that
// keeps it away (pkg/kubelet/lifecycle/predicate.go). Pure.

import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { nodeAffinityAllows } from '#kube/api/node-affinity.ts';
import { amountsOf, isSidecar, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { safeSysctls } from '#kube/api/safe-sysctls.ts';
import { firstUntolerated } from '#kube/api/taints.ts';
import { unsupportedAppArmor, unsupportedByNode } from './admit-features.ts';
import type { Shortage } from './plan-preemption.ts';

/** Why a pod is refused; its phase becomes Failed with this reason. */
export interface Rejection {
  reason: string;
  message: string;
  /** What is missing, where that is why. */
  shortages?: readonly Shortage[];
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

/** A port of the node; an empty address stands for all of them. */
interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

function hostPorts(pod: Pod): HostPort[] {
  const running = [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)];
  return running.flatMap(({ ports }) =>
    (ports ?? []).flatMap(({ hostPort, protocol = 'TCP', hostIP = '' }) =>
      hostPort === undefined || hostPort === 0
        ? []
        : [{ ip: hostIP === '0.0.0.0' ? '' : hostIP, protocol, port: hostPort }],
    ),
  );
}

function collide(a: HostPort, b: HostPort): boolean {
  return a.port === b.port && a.protocol === b.protocol && (a.ip === b.ip || a.ip === '' || b.ip === '');
}

/** A resource of which the node has too little left. */
interface Lack extends Shortage {
  requested: number;
  used: number;
  capacity: number;
}

function lacks(pod: Pod, allocatable: ResourceAmounts, others: readonly Pod[]): Lack[] {
  const found: Lack[] = [];
  const add = (name: string, requested: number, before: number, capacity: number) => {
    const amount = before + requested - capacity;
    if (amount > 0) found.push({ name, amount, requested, used: before, capacity });
  };
  const podLimit = allocatable.get('pods');
  if (podLimit !== undefined) add('pods', 1, others.length, podLimit);
  const taken = used(others);
  for (const [name, amount] of podRequests(pod)) {
    if (amount === 0) continue;
    const capacity = allocatable.get(name);
    // Extended resources that the node does not know may be the cluster's; others are not there.
    if (capacity === undefined && !name.startsWith('hugepages-')) continue;
    add(name, amount, taken.get(name) ?? 0, capacity ?? 0);
  }
  return found;
}

/** The first resource of which the node has too little left for the pod; the message does not say what became of it. */
export function lackingResource(pod: Pod, allocatable: ResourceAmounts, others: readonly Pod[]): Rejection | undefined {
  const shortages = lacks(pod, allocatable, others);
  const [first] = shortages;
  if (first === undefined) return undefined;
  const { name, requested, used: before, capacity } = first;
  const message = `Node didn't have enough resource: ${name}, requested: ${requested}, used: ${before}, capacity: ${capacity}`;
  return { reason: `OutOf${name}`, message, shortages };
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
  const takenPorts = others.flatMap(hostPorts);
  if (hostPorts(pod).some((port) => takenPorts.some((taken) => collide(port, taken)))) {
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
