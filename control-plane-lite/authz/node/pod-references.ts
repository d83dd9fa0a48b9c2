// The objects that a pod needs its node to read. Pure.
import type { Container, EnvFromSource, EnvVar, Pod, Volume } from '#kube/api/generated/core-v1.ts';

/** On a pod that only shows a static pod of a node. */
export const mirrorAnnotation = 'kubernetes.io/config.mirror';

type Kind = 'secrets' | 'configmaps' | 'persistentvolumeclaims' | 'serviceaccounts' | 'resourceclaims';

function* ofEnvironment(
  env: readonly EnvVar[],
  sources: readonly EnvFromSource[],
): Generator<[Kind, string | undefined]> {
  for (const { valueFrom } of env) {
    if (valueFrom?.secretKeyRef !== undefined) yield ['secrets', valueFrom.secretKeyRef.name];
    if (valueFrom?.configMapKeyRef !== undefined) yield ['configmaps', valueFrom.configMapKeyRef.name];
  }
  for (const { secretRef, configMapRef } of sources) {
    if (secretRef !== undefined) yield ['secrets', secretRef.name];
    if (configMapRef !== undefined) yield ['configmaps', configMapRef.name];
  }
}

function* ofVolume(volume: Volume, podName: string): Generator<[Kind, string | undefined]> {
  if (volume.secret !== undefined) yield ['secrets', volume.secret.secretName];
  if (volume.configMap !== undefined) yield ['configmaps', volume.configMap.name];
  if (volume.persistentVolumeClaim !== undefined)
    yield ['persistentvolumeclaims', volume.persistentVolumeClaim.claimName];
  if (volume.ephemeral !== undefined) yield ['persistentvolumeclaims', `${podName}-${volume.name}`];
  for (const source of volume.projected?.sources ?? []) {
    if (source.secret !== undefined) yield ['secrets', source.secret.name];
    if (source.configMap !== undefined) yield ['configmaps', source.configMap.name];
  }
  const drivers = [
    volume.csi?.nodePublishSecretRef,
    volume.iscsi?.secretRef,
    volume.rbd?.secretRef,
    volume.cephfs?.secretRef,
    volume.flexVolume?.secretRef,
  ];
  for (const secret of drivers) if (secret !== undefined) yield ['secrets', secret.name];
}

/** Claims that the pod names, and those that were made for it. */
function* ofClaims({ spec, status }: Pod): Generator<[Kind, string | undefined]> {
  const made = status?.resourceClaimStatuses ?? [];
  for (const { name, resourceClaimName } of spec?.resourceClaims ?? []) {
    yield ['resourceclaims', resourceClaimName ?? made.find((claim) => claim.name === name)?.resourceClaimName];
  }
  yield ['resourceclaims', status?.extendedResourceClaimStatus?.resourceClaimName];
}

/** `resource/namespace/name` of each, once. */
export function podReferences(pod: Pod): Set<string> {
  const { namespace = '', name: podName = '' } = pod.metadata ?? {};
  const { spec } = pod;
  const references = new Set<string>();
  const add = (pairs: Iterable<[Kind, string | undefined]>) => {
    for (const [kind, name] of pairs)
      if (name !== undefined && name !== '') references.add(`${kind}/${namespace}/${name}`);
  };
  if (spec === undefined) return references;
  const containers: Pick<Container, 'env' | 'envFrom'>[] = [
    ...spec.containers,
    ...(spec.initContainers ?? []),
    ...(spec.ephemeralContainers ?? []),
  ];
  for (const { env, envFrom } of containers) add(ofEnvironment(env ?? [], envFrom ?? []));
  for (const volume of spec.volumes ?? []) add(ofVolume(volume, podName));
  add((spec.imagePullSecrets ?? []).map(({ name }) => ['secrets', name]));
  add([['serviceaccounts', spec.serviceAccountName]]);
  add(ofClaims(pod));
  return references;
}
