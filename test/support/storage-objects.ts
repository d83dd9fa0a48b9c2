// Claims and persistent volumes for tests.
import type {
  PersistentVolumeClaimSpec,
  PersistentVolumeSpec,
  Volume,
  VolumeMount,
} from '#kube/api/generated/core-v1.ts';

/** A claim as a client sends it. */
export function claimDraft(name: string, spec: Partial<PersistentVolumeClaimSpec> = {}) {
  return {
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      resources: { requests: { storage: '10Mi' } },
      storageClassName: '',
      ...spec,
    },
  };
}

/** A persistent volume as a client sends it; `spec` names where it is. */
export function volumeDraft(name: string, spec: Partial<PersistentVolumeSpec>) {
  return {
    metadata: { name },
    spec: {
      accessModes: ['ReadWriteOnce'],
      capacity: { storage: '10Mi' },
      persistentVolumeReclaimPolicy: 'Retain',
      storageClassName: '',
      ...spec,
    },
  };
}

/** The node affinity of a volume that only one node has. */
export function onlyOnNode(name: string): Pick<PersistentVolumeSpec, 'nodeAffinity'> {
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: [name] }];
  return { nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions }] } } };
}

/** The pod's side of a claim, mounted at /v. */
export function claimVolume(claimName: string): { volumes: Volume[]; volumeMounts: VolumeMount[] } {
  return {
    volumes: [{ name: 'v', persistentVolumeClaim: { claimName } }],
    volumeMounts: [{ name: 'v', mountPath: '/v' }],
  };
}
