// The status of the Node object (pkg/kubelet/nodestatus). Pure.

import { findCondition } from '#kube/api/conditions.ts';
import type { ContainerImage, Node, NodeAddress, NodeCondition, NodeStatus } from '#kube/api/generated/core-v1.ts';
import {
  addQuantities,
  formatQuantity,
  parseQuantity,
  type Quantity,
  quantityOf,
  quantityToNumber,
  subtractQuantities,
} from '#kube/api/quantity.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Image__Output } from '#proto/generated/cri/runtime/v1/Image.ts';
import type { DeviceCounts } from '../device-plugin/device-inventory.ts';
import type { Pressure } from '../eviction/plan-pressure.ts';
import { hugepageNames, type MachineFacts } from './machine-facts.ts';
import type { RuntimeAbilities } from './runtime-health.ts';

/** Names per image in the status, as upstream. */
const maxNamesPerImage = 5;

/** What the status is made from. */
export interface NodeStatusInputs {
  facts: MachineFacts;
  hostname: string;
  ips: string[];
  /** Set where a cloud provider outside tells the addresses. */
  cloud?: { ipsConfigured: boolean } | undefined;
  maxPods: number;
  /** systemReserved and kubeReserved. */
  reserved: Record<string, string>[];
  evictionHard: Record<string, string>;
  /** Bytes of the filesystem that holds pods; undefined where local storage is not counted. */
  storageBytes: number | undefined;
  serverPort: number;
  runtimeVersion: string;
  kubeletVersion: string;
  images: Image__Output[];
  maxImages: number;
  /** Why the node is not ready; empty when it is. */
  problems: string[];
  abilities: RuntimeAbilities;
  pressure: Pressure;
  /** Of device plugins, by resource. */
  devices?: ReadonlyMap<string, DeviceCounts>;
  nowMs: number;
}

function capacityOf({ facts, maxPods, storageBytes }: NodeStatusInputs): Map<string, Quantity> {
  const capacity = new Map<string, Quantity>([
    ['cpu', quantityOf(facts.cpus)],
    ['memory', quantityOf(facts.memoryBytes, 'BinarySI')],
    ['pods', quantityOf(maxPods)],
  ]);
  for (const { pageKiB, bytes } of facts.hugepages) {
    capacity.set(hugepageNames(pageKiB).resource, quantityOf(bytes, 'BinarySI'));
  }
  if (storageBytes !== undefined) capacity.set('ephemeral-storage', quantityOf(storageBytes, 'BinarySI'));
  return capacity;
}

/** A threshold's amount, of which percentages are shares of the capacity. */
export function thresholdQuantity(text: string | undefined, capacity: Quantity): Quantity {
  if (text === undefined) return quantityOf(0);
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text);
  if (percent === null) return parseQuantity(text);
  // The reference computes in single precision, which shows in the last digits of large disks.
  const share = Math.fround(Math.fround(Number(percent[1])) / 100);
  return quantityOf(Math.trunc(quantityToNumber(capacity) * share), capacity.format);
}

function allocatableOf(inputs: NodeStatusInputs, capacity: Map<string, Quantity>): Map<string, Quantity> {
  const signals: Record<string, string> = { memory: 'memory.available', 'ephemeral-storage': 'nodefs.available' };
  const allocatable = new Map<string, Quantity>();
  for (const [name, total] of capacity) {
    let held = inputs.reserved.reduce<Quantity>(
      (sum, list) => (list[name] === undefined ? sum : addQuantities(sum, parseQuantity(list[name]))),
      quantityOf(0),
    );
    const signal = signals[name];
    if (signal !== undefined) held = addQuantities(held, thresholdQuantity(inputs.evictionHard[signal], total));
    const left = subtractQuantities(total, held);
    allocatable.set(name, left.nano < 0n ? quantityOf(0) : left);
  }
  // Huge pages are taken from memory before pods see any of it.
  const memory = allocatable.get('memory');
  const pages = inputs.facts.hugepages.reduce((sum, { bytes }) => sum + bytes, 0);
  if (memory !== undefined) allocatable.set('memory', subtractQuantities(memory, quantityOf(pages)));
  return allocatable;
}

function formatList(list: Map<string, Quantity>): Record<string, string> {
  return Object.fromEntries(
    [...list].sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, value]) => [name, formatQuantity(value)]),
  );
}

function imagesOf(images: readonly Image__Output[], limit: number): ContainerImage[] {
  const sorted = [...images].sort((a, b) => b.size - a.size);
  return (limit < 0 ? sorted : sorted.slice(0, limit)).map(({ repoDigests, repoTags, size }) => ({
    names: [...repoDigests, ...repoTags].slice(0, maxNamesPerImage),
    sizeBytes: size,
  }));
}

function conditionsOf(inputs: NodeStatusInputs, previous: readonly NodeCondition[]): NodeCondition[] {
  const now = formatTime(inputs.nowMs);
  const ready = inputs.problems.length === 0;
  const { memory, disk, pids } = inputs.pressure;
  const wanted: [string, string, string, string][] = [
    memory
      ? ['MemoryPressure', 'True', 'KubeletHasInsufficientMemory', 'kubelet has insufficient memory available']
      : ['MemoryPressure', 'False', 'KubeletHasSufficientMemory', 'kubelet has sufficient memory available'],
    disk
      ? ['DiskPressure', 'True', 'KubeletHasDiskPressure', 'kubelet has disk pressure']
      : ['DiskPressure', 'False', 'KubeletHasNoDiskPressure', 'kubelet has no disk pressure'],
    pids
      ? ['PIDPressure', 'True', 'KubeletHasInsufficientPID', 'kubelet has insufficient PID available']
      : ['PIDPressure', 'False', 'KubeletHasSufficientPID', 'kubelet has sufficient PID available'],
    ready
      ? ['Ready', 'True', 'KubeletReady', 'kubelet is posting ready status']
      : ['Ready', 'False', 'KubeletNotReady', inputs.problems.join(', ')],
  ];
  const own = wanted.map(([type, status, reason, message]) => {
    const before = findCondition(previous, type);
    const lastTransitionTime = before?.status === status ? (before.lastTransitionTime ?? now) : now;
    return { type, status, lastHeartbeatTime: now, lastTransitionTime, reason, message };
  });
  return [...previous.filter(({ type }) => !wanted.some(([name]) => name === type)), ...own];
}

/** Where a controller outside knows the addresses, its own stay; until it came there are those that were configured. */
function addressesOf({ ips, hostname, cloud }: NodeStatusInputs, previous: Node | undefined): NodeAddress[] {
  const known = previous?.status?.addresses ?? [];
  if (cloud !== undefined && known.length > 0) return known;
  if (cloud !== undefined && !cloud.ipsConfigured) return [];
  return [...ips.map((address) => ({ type: 'InternalIP', address })), { type: 'Hostname', address: hostname }];
}

/** What schedulers and the API server may count on, in order. */
const declaredFeatures = [
  'ExtendWebSocketsToKubelet',
  'InPlacePodLevelResourcesVerticalScaling',
  'InPlacePodVerticalScalingInitContainers',
  'RestartAllContainersOnContainerExits',
] as const;

/** Devices of plugins, and what others have written of resources that no plugin here tells of. */
function extendedResources(devices: ReadonlyMap<string, DeviceCounts>, previous: Node | undefined) {
  const capacity: Record<string, string> = {};
  const allocatable: Record<string, string> = {};
  for (const [name, amount] of Object.entries(previous?.status?.capacity ?? {})) {
    if (!name.includes('/') || devices.has(name)) continue;
    capacity[name] = amount;
    allocatable[name] = amount;
  }
  for (const [name, counts] of devices) {
    capacity[name] = `${counts.capacity}`;
    allocatable[name] = `${counts.allocatable}`;
  }
  return { capacity, allocatable };
}

/** Computes the status; conditions of others and transition times come from `previous`. */
export function computeNodeStatus(inputs: NodeStatusInputs, previous: Node | undefined): NodeStatus {
  const { facts, abilities } = inputs;
  const capacity = capacityOf(inputs);
  const extended = extendedResources(inputs.devices ?? new Map(), previous);
  return {
    addresses: addressesOf(inputs, previous),
    allocatable: { ...formatList(allocatableOf(inputs, capacity)), ...extended.allocatable },
    capacity: { ...formatList(capacity), ...extended.capacity },
    conditions: conditionsOf(inputs, previous?.status?.conditions ?? []),
    ...(abilities.supplementalGroupsPolicy === undefined
      ? {}
      : { features: { supplementalGroupsPolicy: abilities.supplementalGroupsPolicy } }),
    ...(abilities.handlers.length === 0
      ? {}
      : { runtimeHandlers: abilities.handlers.map(({ name, ...features }) => ({ name, features })) }),
    declaredFeatures: [...declaredFeatures],
    daemonEndpoints: { kubeletEndpoint: { Port: inputs.serverPort } },
    images: imagesOf(inputs.images, inputs.maxImages),
    nodeInfo: {
      architecture: facts.architecture,
      bootID: facts.bootId,
      containerRuntimeVersion: inputs.runtimeVersion,
      kernelVersion: facts.kernelVersion,
      kubeProxyVersion: '',
      kubeletVersion: inputs.kubeletVersion,
      machineID: facts.machineId,
      operatingSystem: 'linux',
      osImage: facts.osImage,
      systemUUID: facts.systemUuid,
      ...(facts.swapBytes > 0 ? { swap: { capacity: facts.swapBytes } } : {}),
    },
  };
}
