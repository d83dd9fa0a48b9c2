// The scheduler's view of the cluster: nodes with their pods, including pods it has placed and the server has not
// confirmed yet. Every change is logged by node, so that rankings are brought up to date at the cost of the change.
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { createPodInfo, type PodInfo } from '../framework/pod-info.ts';
import { createImageCounts } from './image-counts.ts';
import { addPod, createNodeInfo, type NodeInfo, removePod, updateNode } from './node-info.ts';
import { createTermGroups, type TermGroup } from './term-groups.ts';

export interface ClusterCache {
  readonly nodes: ReadonlyMap<string, NodeInfo>;
  /** Grows with every change; `changedSince` takes an earlier value. */
  readonly version: number;
  /** Grows when everything that was computed from labels is void. */
  readonly layout: number;
  /** Names of nodes changed since `version`, each once; undefined when that is too long ago to know. */
  changedSince(version: number): Set<string> | undefined;
  /** What placed pods say about others by affinity. */
  termGroups(): Iterable<TermGroup>;
  /** Placed pods that use a claim, `namespace/name`. */
  claimUsers(key: string): number;
  /** Nodes that have an image of this name. */
  nodesWithImage(image: string): number;
  /** Another one whenever another share of the nodes has one of the images. */
  imageVersion(images: readonly string[]): string;
  /** Voids everything that was computed from labels: those of namespaces have changed. */
  labelsChanged(): void;
  setNode(node: Node): void;
  deleteNode(name: string): void;
  /** Places a pod on a node before the server knows. */
  assume(info: PodInfo, nodeName: string): void;
  /** Takes an assumed pod back, unless the server has confirmed it. */
  forget(uid: string): void;
  /** The server's word on a pod that has a node. */
  setPod(pod: Pod): void;
  deletePod(uid: string): void;
  /** Where a pod is, assumed or confirmed. */
  nodeOf(uid: string): string | undefined;
  /** The lowest priority of any placed pod; positive infinity without pods. */
  readonly lowestPriority: number;
  counts(): { pods: number; assumed: number };
  /** Pods of the group in each zone. */
  groupZones(group: string): ReadonlyMap<string, number> | undefined;
}

const maxLog = 10_000;

/** An empty view; the scheduler feeds it from its informers. */
export function createClusterCache(): ClusterCache {
  const nodes = new Map<string, NodeInfo>();
  const placed = new Map<string, { info: PodInfo; node: string; assumed: boolean }>();
  const terms = createTermGroups();
  const images = createImageCounts();
  const claims = new Map<string, number>();
  const zones = new Map<string, Map<string, number>>();
  /** Pods of nodes that are not known (yet). */
  const homeless = new Map<string, Map<string, PodInfo>>();
  const priorities = new Map<number, number>();
  let log: string[] = [];
  let logStart = 0;
  let layout = 0;

  function changed(name: string): void {
    log.push(name);
    if (log.length > 2 * maxLog) {
      logStart += log.length - maxLog;
      log = log.slice(-maxLog);
    }
  }

  function countZone(group: string, zone: string, change: number): void {
    if (group === '') return;
    const counts = zones.get(group) ?? new Map<string, number>();
    zones.set(group, counts);
    const left = (counts.get(zone) ?? 0) + change;
    if (left > 0) counts.set(zone, left);
    else counts.delete(zone);
    if (counts.size === 0) zones.delete(group);
  }

  function countPriority({ priority }: PodInfo, change: number): void {
    const left = (priorities.get(priority) ?? 0) + change;
    if (left > 0) priorities.set(priority, left);
    else priorities.delete(priority);
  }

  function countClaims(info: PodInfo, change: number): void {
    for (const key of info.claims) {
      const left = (claims.get(key) ?? 0) + change;
      if (left > 0) claims.set(key, left);
      else claims.delete(key);
    }
  }

  function put(info: PodInfo, name: string): void {
    const node = nodes.get(name);
    if (node === undefined) {
      const waiting = homeless.get(name) ?? new Map<string, PodInfo>();
      waiting.set(info.uid, info);
      homeless.set(name, waiting);
      return;
    }
    addPod(node, info);
    countZone(info.group, node.zone, 1);
    changed(name);
  }

  function take(uid: string): void {
    const entry = placed.get(uid);
    if (entry === undefined) return;
    placed.delete(uid);
    countPriority(entry.info, -1);
    terms.remove(entry.info, entry.node);
    countClaims(entry.info, -1);
    homeless.get(entry.node)?.delete(uid);
    const node = nodes.get(entry.node);
    if (node === undefined) return;
    removePod(node, uid);
    countZone(entry.info.group, node.zone, -1);
    changed(entry.node);
  }

  function place(info: PodInfo, node: string, assumed: boolean): void {
    take(info.uid);
    placed.set(info.uid, { info, node, assumed });
    countPriority(info, 1);
    terms.add(info, node);
    countClaims(info, 1);
    put(info, node);
  }

  return {
    nodes,
    termGroups: terms.all,
    claimUsers: (key) => claims.get(key) ?? 0,
    nodesWithImage: images.nodesWith,
    imageVersion: (wanted) => images.versionOf(wanted, nodes.size),
    labelsChanged() {
      layout += 1;
    },
    get version() {
      return logStart + log.length;
    },
    get layout() {
      return layout;
    },
    changedSince(version) {
      return version < logStart ? undefined : new Set(log.slice(version - logStart));
    },
    setNode(node) {
      const { name } = node.metadata;
      const known = nodes.get(name);
      if (known === undefined) {
        const info = createNodeInfo(node);
        nodes.set(name, info);
        images.replace(new Map(), info.images);
        const waiting = homeless.get(name);
        homeless.delete(name);
        for (const info of waiting?.values() ?? []) put(info, name);
      } else {
        const { zone, images: before } = known;
        updateNode(known, node);
        images.replace(before, known.images);
        if (zone !== known.zone) {
          for (const { group } of known.pods.values()) {
            countZone(group, zone, -1);
            countZone(group, known.zone, 1);
          }
        }
      }
      changed(name);
    },
    deleteNode(name) {
      const node = nodes.get(name);
      if (node === undefined) return;
      nodes.delete(name);
      images.replace(node.images, new Map());
      for (const info of node.pods.values()) countZone(info.group, node.zone, -1);
      if (node.pods.size > 0) homeless.set(name, new Map(node.pods));
      changed(name);
    },
    assume: (info, nodeName) => place(info, nodeName, true),
    forget(uid) {
      if (placed.get(uid)?.assumed === true) take(uid);
    },
    setPod(pod) {
      const name = pod.spec?.nodeName ?? '';
      const known = placed.get(pod.metadata.uid ?? '');
      // The usual case, its own decision confirmed: nothing moves.
      if (known?.node === name && known.assumed) known.assumed = false;
      else place(createPodInfo(pod), name, false);
    },
    deletePod: take,
    nodeOf: (uid) => placed.get(uid)?.node,
    get lowestPriority() {
      return Math.min(Number.POSITIVE_INFINITY, ...priorities.keys());
    },
    counts: () => ({ pods: placed.size, assumed: [...placed.values()].filter(({ assumed }) => assumed).length }),
    groupZones: (group) => zones.get(group),
  };
}
