// A node with what its pods take of it.
import type { Node } from '#kube/api/generated/core-v1.ts';
import { amountsOf, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import type { HostPort, PodInfo } from '../framework/pod-info.ts';

export interface NodeInfo {
  readonly name: string;
  node: Node;
  zone: string;
  allocatable: ResourceAmounts;
  requested: ResourceAmounts;
  scoredCpu: number;
  scoredMemory: number;
  pods: Map<string, PodInfo>;
  /** Pods of each group on this node. */
  groups: Map<string, number>;
  hostPorts: HostPort[];
  /** Bytes of the images that the node has, by each of their names. */
  images: ReadonlyMap<string, number>;
}

/** Nodes with one value of it fail together. */
export const zoneLabel = 'topology.kubernetes.io/zone';

function imagesOf({ status }: Node): Map<string, number> {
  const images = new Map<string, number>();
  for (const { names = [], sizeBytes = 0 } of status?.images ?? []) {
    for (const name of names) images.set(name, Number(sizeBytes));
  }
  return images;
}

/** A node without pods. */
export function createNodeInfo(node: Node): NodeInfo {
  return {
    name: node.metadata.name,
    node,
    zone: node.metadata.labels?.[zoneLabel] ?? '',
    allocatable: amountsOf(node.status?.allocatable),
    requested: new Map(),
    scoredCpu: 0,
    scoredMemory: 0,
    pods: new Map(),
    groups: new Map(),
    hostPorts: [],
    images: imagesOf(node),
  };
}

/** Takes over a new version of the node object. */
export function updateNode(info: NodeInfo, node: Node): void {
  info.node = node;
  info.zone = node.metadata.labels?.[zoneLabel] ?? '';
  info.allocatable = amountsOf(node.status?.allocatable);
  info.images = imagesOf(node);
}

function count(info: NodeInfo, pod: PodInfo, sign: 1 | -1): void {
  for (const [resource, amount] of pod.requests) {
    info.requested.set(resource, (info.requested.get(resource) ?? 0) + sign * amount);
  }
  info.scoredCpu += sign * pod.scoredCpu;
  info.scoredMemory += sign * pod.scoredMemory;
  if (pod.group !== '') {
    const left = (info.groups.get(pod.group) ?? 0) + sign;
    if (left > 0) info.groups.set(pod.group, left);
    else info.groups.delete(pod.group);
  }
}

/** Counts a pod, in place of an older version of it. */
export function addPod(info: NodeInfo, pod: PodInfo): void {
  if (info.pods.has(pod.uid)) removePod(info, pod.uid);
  info.pods.set(pod.uid, pod);
  info.hostPorts.push(...pod.hostPorts);
  count(info, pod, 1);
}

/** Gives back what a pod took; an unknown one is ignored. */
export function removePod(info: NodeInfo, uid: string): void {
  const pod = info.pods.get(uid);
  if (pod === undefined) return;
  info.pods.delete(uid);
  count(info, pod, -1);
  if (pod.hostPorts.length > 0) info.hostPorts = [...info.pods.values()].flatMap(({ hostPorts }) => hostPorts);
}

/** A copy of the node without some of its pods, to try things out on. */
export function withoutPods(info: NodeInfo, uids: ReadonlySet<string>): NodeInfo {
  const copy: NodeInfo = {
    ...info,
    requested: new Map(info.requested),
    pods: new Map(info.pods),
    groups: new Map(info.groups),
    hostPorts: [...info.hostPorts],
  };
  for (const uid of uids) removePod(copy, uid);
  return copy;
}
