// What a hollow node says of itself. Pure.
import type { NodeCondition, NodeStatus } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import type { FleetOptions } from './options.ts';

/** Every hollow node has it, with the prefix of its name: by it they are found again and removed. */
export const fleetLabel = 'berth.io/hollow';

/** One node of a fleet. */
export interface HollowNode {
  name: string;
  index: number;
  address: string;
  labels: Record<string, string>;
}

/** An address of 198.18.0.0/15, which nothing on a network uses. */
function nodeAddress(index: number): string {
  const host = index + 1;
  return `198.${18 + (host >> 16)}.${(host >> 8) & 255}.${host & 255}`;
}

/** An address of 100.64.0.0/10: the node's own 254 of them, one after another. */
export function podAddress(index: number, serial: number): string {
  return `100.${64 + (index >> 8)}.${index & 255}.${(serial % 254) + 1}`;
}

/** The node at a place of the fleet. */
export function hollowNode({ namePrefix, labels, zones }: FleetOptions, index: number): HollowNode {
  const name = `${namePrefix}-${index}`;
  const zone = zones === 0 ? {} : { 'topology.kubernetes.io/zone': `zone-${index % zones}` };
  const own = {
    'kubernetes.io/hostname': name,
    'kubernetes.io/os': 'linux',
    'kubernetes.io/arch': 'amd64',
    'beta.kubernetes.io/os': 'linux',
    'beta.kubernetes.io/arch': 'amd64',
    [fleetLabel]: namePrefix,
  };
  return { name, index, address: nodeAddress(index), labels: { ...own, ...zone, ...labels } };
}

function condition(
  now: string,
  previous: readonly NodeCondition[],
  type: string,
  status: string,
  reason: string,
  message: string,
): NodeCondition {
  const known = previous.find((other) => other.type === type && other.status === status);
  return {
    type,
    status,
    reason,
    message,
    lastHeartbeatTime: now,
    lastTransitionTime: known?.lastTransitionTime ?? now,
  };
}

/** The status that its agent reports. */
export function hollowNodeStatus(
  node: HollowNode,
  { capacity }: FleetOptions,
  previous: NodeStatus | undefined,
  nowMs: number,
): NodeStatus {
  const now = formatTime(nowMs);
  const conditions = previous?.conditions ?? [];
  const no = (type: string, reason: string, message: string) =>
    condition(now, conditions, type, 'False', reason, message);
  return {
    capacity,
    allocatable: capacity,
    addresses: [
      { type: 'InternalIP', address: node.address },
      { type: 'Hostname', address: node.name },
    ],
    // No port: nobody serves logs or measurements.
    conditions: [
      no('MemoryPressure', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
      no('DiskPressure', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
      no('PIDPressure', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
      condition(now, conditions, 'Ready', 'True', 'KubeletReady', 'kubelet is posting ready status'),
    ],
    nodeInfo: {
      machineID: '',
      systemUUID: '',
      bootID: '',
      kernelVersion: '',
      osImage: 'hollow',
      containerRuntimeVersion: 'hollow://0',
      kubeletVersion: kubernetesVersion,
      kubeProxyVersion: '',
      operatingSystem: 'linux',
      architecture: 'amd64',
    },
  };
}
