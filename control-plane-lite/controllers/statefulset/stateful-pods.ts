// The pods and volume claims of a StatefulSet: names, identity, and which pod is which. Pure.
// Behaviour: upstream's pkg/controller/statefulset/stateful_set_utils.go.
import type { ControllerRevision, StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { PersistentVolumeClaim, Pod, PodTemplateSpec, Volume } from '#kube/api/generated/core-v1.ts';
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import { statefulsets } from '#kube/api/generated/resources.ts';
import type { Draft } from '#kube/api/resource.ts';
import { podFromTemplate } from '../pod-template.ts';
import { revisionHashLabel } from '../revisions/revisions.ts';

const podNameLabel = 'statefulset.kubernetes.io/pod-name';
const podIndexLabel = 'apps.kubernetes.io/pod-index';

/** Where counting begins; zero unless the set says otherwise. */
export function firstOrdinal(set: StatefulSet): number {
  return set.spec.ordinals?.start ?? 0;
}

/** Whether the set's size has room for an ordinal. */
export function isOrdinalWanted(set: StatefulSet, ordinal: number): boolean {
  const first = firstOrdinal(set);
  return ordinal >= first && ordinal < first + (set.spec.replicas ?? 1);
}

/** The ordinal in the pod's name; undefined for a pod that is not of this set. */
export function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const prefix = `${set.metadata.name}-`;
  const { name } = pod.metadata;
  const text = name.startsWith(prefix) ? name.slice(prefix.length) : '';
  return /^(0|[1-9]\d*)$/.test(text) ? Number(text) : undefined;
}

/** The name of the pod with an ordinal, which it keeps for ever. */
export function podName(set: StatefulSet, ordinal: number): string {
  return `${set.metadata.name}-${ordinal}`;
}

function claimName(template: PersistentVolumeClaim, pod: string): string {
  return `${template.metadata.name}-${pod}`;
}

/** The set as a revision of it was: with that revision's template. */
export function atRevision(set: StatefulSet, revision: ControllerRevision | undefined): StatefulSet {
  const data = revision?.data as { spec?: { template?: PodTemplateSpec & { $patch?: string } } } | undefined;
  const stored = data?.spec?.template;
  if (stored === undefined) return set;
  const { $patch: _, ...template } = stored;
  return { ...set, spec: { ...set.spec, template } };
}

/** The pod with this ordinal, from the set's template. `revision` is the name of the template's revision. */
export function draftStatefulPod(set: StatefulSet, ordinal: number, revision: string): Draft<Pod> {
  const { metadata, spec = { containers: [] } } = podFromTemplate(set.spec.template, statefulsets, set);
  const { generateName: _, ...rest } = metadata;
  const name = podName(set, ordinal);
  const claims: Volume[] = (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    name: template.metadata.name,
    persistentVolumeClaim: { claimName: claimName(template, name) },
  }));
  const claimed = new Set(claims.map((volume) => volume.name));
  const volumes = [...claims, ...(spec.volumes ?? []).filter((volume) => !claimed.has(volume.name))];
  const { serviceName } = set.spec;
  return {
    metadata: {
      ...rest,
      name,
      labels: { ...rest.labels, [podNameLabel]: name, [podIndexLabel]: `${ordinal}`, [revisionHashLabel]: revision },
    },
    spec: {
      ...spec,
      hostname: name,
      ...(serviceName === undefined ? {} : { subdomain: serviceName }),
      ...(volumes.length === 0 ? {} : { volumes }),
    },
  };
}

/** The owner that the policy wants for the claims of an ordinal. `pod` is the one of that ordinal, if it is there. */
export function wantedClaimOwner(set: StatefulSet, ordinal: number, pod: Pod | undefined): OwnerReference | undefined {
  const { whenDeleted = 'Retain', whenScaled = 'Retain' } = set.spec.persistentVolumeClaimRetentionPolicy ?? {};
  const reference = (apiVersion: string, kind: string, { metadata }: StatefulSet | Pod): OwnerReference => ({
    apiVersion,
    kind,
    name: metadata.name,
    uid: metadata.uid ?? '',
  });
  if (whenScaled === 'Delete' && !isOrdinalWanted(set, ordinal)) {
    return pod === undefined ? undefined : reference('v1', 'Pod', pod);
  }
  return whenDeleted === 'Delete' ? reference('apps/v1', 'StatefulSet', set) : undefined;
}

/** The claims that the pod with this ordinal mounts. */
export function draftClaims(set: StatefulSet, ordinal: number): Draft<PersistentVolumeClaim>[] {
  const name = podName(set, ordinal);
  const owner = wantedClaimOwner(set, ordinal, undefined);
  return (set.spec.volumeClaimTemplates ?? []).map((template) => ({
    metadata: {
      name: claimName(template, name),
      namespace: set.metadata.namespace,
      labels: { ...template.metadata.labels, ...set.spec.selector.matchLabels },
      ...(template.metadata.annotations === undefined ? {} : { annotations: template.metadata.annotations }),
      ...(owner === undefined ? {} : { ownerReferences: [owner] }),
    },
    spec: template.spec,
  }));
}
