// What in a pod's definition refers to objects of the API server: a static pod, which runs without one, may not.
// Source: k8s.io/kubernetes/pkg/api/v1/pod: HasAPIObjectReference. Pure.
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { containersOf } from '../container/pod-containers.ts';

function ofVolume(volume: Volume): string | undefined {
  if (volume.configMap !== undefined) return 'configmaps';
  if (volume.secret !== undefined) return 'secrets';
  if (volume.persistentVolumeClaim !== undefined || volume.ephemeral !== undefined) return 'persistentvolumeclaims';
  for (const source of volume.projected?.sources ?? []) {
    if (source.configMap !== undefined) return 'configmaps';
    if (source.secret !== undefined) return 'secrets';
    if (source.serviceAccountToken !== undefined) return 'serviceaccounts';
    if (source.clusterTrustBundle !== undefined) return 'clustertrustbundles';
    if (source.podCertificate !== undefined) return 'podcertificaterequests';
  }
  const holders = [volume.csi?.nodePublishSecretRef, volume.flexVolume?.secretRef, volume.cephfs?.secretRef];
  return holders.some((item) => item !== undefined) ? 'secrets' : undefined;
}

/** The kind of the first object that the pod refers to, as the API names it; undefined when there is none. */
export function apiReferenceOf(pod: Pod): string | undefined {
  const { serviceAccountName = '', imagePullSecrets = [], resourceClaims = [], volumes = [] } = pod.spec;
  if (serviceAccountName !== '') return 'serviceaccounts';
  if (imagePullSecrets.length > 0) return 'secrets';
  if (resourceClaims.length > 0) return 'resourceclaims';
  for (const { container } of containersOf(pod)) {
    for (const { configMapRef, secretRef } of container.envFrom ?? []) {
      if (configMapRef !== undefined) return 'configmaps';
      if (secretRef !== undefined) return 'secrets';
    }
    for (const { valueFrom } of container.env ?? []) {
      if (valueFrom?.configMapKeyRef !== undefined) return 'configmaps';
      if (valueFrom?.secretKeyRef !== undefined) return 'secrets';
    }
  }
  return volumes.map(ofVolume).find((kind) => kind !== undefined);
}
