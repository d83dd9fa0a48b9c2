// Where a pod may go as far as its claims are concerned, and what has to be bound or made once a node is chosen.
// Behaviour: upstream's volumebinding, volumezone, volumerestrictions and nodevolumelimits plugins. Pure.
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { StorageClass } from '#kube/api/generated/storage-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import {
  bindCompletedAnnotation,
  noProvisioner,
  selectedNodeAnnotation,
  selectVolume,
  storageClassOf,
  volumeFitsNode,
  waitsForConsumer,
} from '#kube/api/persistent-volumes.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';
import { type ShapePoint, valueOfShape } from '../plugins/score-shape.ts';
import { claimNamesOf } from './pod-claims.ts';
import type { StorageView } from './storage-view.ts';

const refusal = (plugin: string, reason: string, resolvable = false): Refusal => ({
  plugin,
  reasons: [reason],
  resolvable,
});
const noVolumes = refusal('VolumeBinding', "node(s) didn't find available persistent volumes to bind");
const otherNode = refusal('VolumeBinding', "node(s) didn't match PersistentVolume's node affinity");
const otherZone = refusal('VolumeZone', 'node(s) had no available volume zone');
const tooMany = refusal('NodeVolumeLimits', 'node(s) exceed max volume count', true);
const soleUse = refusal(
  'VolumeRestrictions',
  'node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode',
  true,
);
const zoneLabels = [
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
];

/** Which of the plugins about volumes a profile has. */
export interface VolumeSettings {
  plugins: ReadonlySet<string>;
  /** How long the binding of a claim is waited for. */
  bindTimeoutMs: number;
  /** The score of static volumes by how much of them would be used; undefined: not scored. */
  scoring: { shape: readonly ShapePoint[]; weight: number } | undefined;
}

export const volumePlugins = ['VolumeRestrictions', 'NodeVolumeLimits', 'VolumeBinding', 'VolumeZone'] as const;

export const defaultVolumeSettings: VolumeSettings = {
  plugins: new Set(volumePlugins),
  bindTimeoutMs: 600_000,
  scoring: undefined,
};

/** What is done for a pod on its node before it is bound. */
export interface VolumeWork {
  bind: { claim: PersistentVolumeClaim; volume: PersistentVolume }[];
  provision: PersistentVolumeClaim[];
}

/** The claims of one pod, looked at once for all nodes. */
export interface VolumePlan {
  /** Why the pod can go nowhere now. */
  problem: string | undefined;
  refuse(node: NodeInfo, removed?: readonly PodInfo[]): Refusal | undefined;
  /** Nodes on which the volumes fit tightly rank higher; undefined where that is not asked for. */
  score: ((nodes: readonly NodeInfo[]) => ReadonlyMap<string, number>) | undefined;
  workFor(node: NodeInfo): VolumeWork;
}

function isBound({ metadata, spec }: PersistentVolumeClaim): boolean {
  return (spec.volumeName ?? '') !== '' && metadata.annotations?.[bindCompletedAnnotation] !== undefined;
}

function isInZone({ metadata }: PersistentVolume, { node }: NodeInfo): boolean {
  return zoneLabels.every((label) => {
    const wanted = metadata.labels?.[label];
    const actual = node.metadata.labels?.[label];
    return wanted === undefined || actual === undefined || wanted.split('__').includes(actual);
  });
}

function isTopologyAllowed({ allowedTopologies = [] }: StorageClass, { node }: NodeInfo): boolean {
  if (allowedTopologies.length === 0) return true;
  return allowedTopologies.some(({ matchLabelExpressions = [] }) =>
    matchLabelExpressions.every(({ key, values }) => values.includes(node.metadata.labels?.[key] ?? '')),
  );
}

/** `driver^handle` of every CSI volume that the pods use. */
function csiVolumesOf(pods: Iterable<Pod>, view: StorageView): Map<string, Set<string>> {
  const byDriver = new Map<string, Set<string>>();
  for (const pod of pods) {
    for (const { name } of claimNamesOf(pod)) {
      const volume = view.volumes.get(view.claims.get(`${pod.metadata.namespace}/${name}`)?.spec.volumeName ?? '');
      const csi = volume?.spec.csi;
      if (csi === undefined) continue;
      const handles = byDriver.get(csi.driver) ?? new Set<string>();
      byDriver.set(csi.driver, handles.add(csi.volumeHandle));
    }
  }
  return byDriver;
}

function exceedsLimits(pod: Pod, { name, pods }: NodeInfo, view: StorageView): boolean {
  const own = csiVolumesOf([pod], view);
  if (own.size === 0) return false;
  const drivers = view.csiNodes.get(name)?.spec.drivers ?? [];
  const limited = drivers.filter((driver) => own.has(driver.name) && driver.allocatable?.count !== undefined);
  if (limited.length === 0) return false;
  const used = csiVolumesOf(
    [...pods.values()].map((info) => info.pod),
    view,
  );
  return limited.some((driver) => {
    const together = new Set([...(used.get(driver.name) ?? []), ...(own.get(driver.name) ?? [])]);
    return together.size > (driver.allocatable?.count ?? 0);
  });
}

/** The claims of the pod by what they need, or why the pod has to wait. */
function readClaims(pod: Pod, view: StorageView) {
  const bound: PersistentVolume[] = [];
  const delayed: PersistentVolumeClaim[] = [];
  const sole: string[] = [];
  const fail = (problem: string) => ({ problem, bound, delayed, sole });
  for (const { name, isEphemeral } of claimNamesOf(pod)) {
    const claim = view.claims.get(`${pod.metadata.namespace}/${name}`);
    if (claim === undefined) {
      return isEphemeral
        ? fail(`waiting for ephemeral volume controller to create the persistentvolumeclaim "${name}"`)
        : fail(`persistentvolumeclaim "${name}" not found`);
    }
    if (claim.metadata.deletionTimestamp !== undefined) return fail(`persistentvolumeclaim "${name}" is being deleted`);
    if (isEphemeral && controllerOf(claim)?.uid !== pod.metadata.uid) {
      const owned = `PVC ${pod.metadata.namespace}/${name} was not created for pod`;
      return fail(`${owned} ${pod.metadata.namespace}/${pod.metadata.name} (pod is not owner)`);
    }
    if (claim.spec.accessModes?.includes('ReadWriteOncePod') === true) sole.push(`${pod.metadata.namespace}/${name}`);
    if (isBound(claim)) {
      const volume = view.volumes.get(claim.spec.volumeName ?? '');
      if (volume === undefined || claim.status?.phase === 'Lost') {
        return fail(
          `persistentvolumeclaim "${name}" bound to non-existent persistentvolume "${claim.spec.volumeName}"`,
        );
      }
      bound.push(volume);
    } else if (waitsForConsumer(view.classes.get(storageClassOf(claim))) && (claim.spec.volumeName ?? '') === '') {
      delayed.push(claim);
    } else return fail('pod has unbound immediate PersistentVolumeClaims');
  }
  return { problem: undefined, bound, delayed, sole };
}

const requestOf = (claim: PersistentVolumeClaim) => quantityValue(claim.spec.resources?.requests?.['storage']);

/** Undefined when some claim can neither be bound nor provisioned on the node. */
function workOn(node: NodeInfo, delayed: readonly PersistentVolumeClaim[], view: StorageView): VolumeWork | undefined {
  const work: VolumeWork = { bind: [], provision: [] };
  const taken = new Set(view.taken);
  for (const claim of [...delayed].sort((a, b) => requestOf(a) - requestOf(b))) {
    const selected = claim.metadata.annotations?.[selectedNodeAnnotation] ?? '';
    if (selected !== '') {
      if (selected !== node.name) return undefined;
      work.provision.push(claim);
      continue;
    }
    const volume = selectVolume(claim, view.volumes.list(), { node: node.node, taken });
    if (volume !== undefined) {
      taken.add(volume.metadata.name);
      work.bind.push({ claim, volume });
      continue;
    }
    const storageClass = view.classes.get(storageClassOf(claim));
    const canMake = storageClass !== undefined && storageClass.provisioner !== noProvisioner;
    if (!canMake || claim.spec.selector !== undefined || !isTopologyAllowed(storageClass, node)) return undefined;
    work.provision.push(claim);
  }
  return work;
}

/** How full the volumes would be that are bound for the pod, as a score. */
function tightness({ bind }: VolumeWork, shape: readonly ShapePoint[]): number {
  if (bind.length === 0) return 0;
  const scores = bind.map(({ claim, volume }) => {
    const capacity = quantityValue(volume.spec.capacity?.['storage']);
    return capacity === 0 ? 0 : valueOfShape(shape, Math.floor((100 * requestOf(claim)) / capacity));
  });
  return Math.round(scores.reduce((sum, score) => sum + score, 0) / scores.length);
}

/** Looks at the pod's claims. `claimUsers`: placed pods with a claim, by `namespace/name`. */
export function planVolumes(
  pod: Pod,
  view: StorageView,
  settings: VolumeSettings = defaultVolumeSettings,
  claimUsers: (key: string) => number = () => 0,
): VolumePlan {
  const { problem, bound, delayed, sole } = readClaims(pod, view);
  const has = (plugin: (typeof volumePlugins)[number]) => settings.plugins.has(plugin);
  const { scoring } = settings;
  // One pod in the cluster, whatever its node.
  const isTaken = (removed: readonly PodInfo[]) =>
    sole.some((key) => {
      const gone = removed.filter(({ claims }) => claims.includes(key)).length;
      return claimUsers(key) - gone > 0;
    });
  return {
    problem: has('VolumeBinding') ? problem : undefined,
    refuse(node, removed = []) {
      if (sole.length > 0 && has('VolumeRestrictions') && isTaken(removed)) return soleUse;
      if (has('NodeVolumeLimits') && exceedsLimits(pod, node, view)) return tooMany;
      if (has('VolumeBinding')) {
        if (bound.some((volume) => !volumeFitsNode(volume, node.node))) return otherNode;
        if (workOn(node, delayed, view) === undefined) return noVolumes;
      }
      return has('VolumeZone') && bound.some((volume) => !isInZone(volume, node)) ? otherZone : undefined;
    },
    score:
      scoring === undefined || delayed.length === 0
        ? undefined
        : (nodes) =>
            new Map(
              nodes.map((node) => {
                const work = workOn(node, delayed, view);
                return [node.name, work === undefined ? 0 : scoring.weight * tightness(work, scoring.shape)];
              }),
            ),
    workFor: (node) => workOn(node, delayed, view) ?? { bind: [], provision: [] },
  };
}
