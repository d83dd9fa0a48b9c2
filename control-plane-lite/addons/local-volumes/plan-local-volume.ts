// The objects of a local volume: the pod that makes or removes its directory on the node, and the volume itself. Pure.
import { posix } from 'node:path';
import type { Node, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { StorageClass } from '#kube/api/generated/storage-v1.ts';
import { provisionedByAnnotation } from '#kube/api/persistent-volumes.ts';
import type { Draft } from '#kube/api/resource.ts';
import { localProvisioner } from './storage-class.ts';

/** Where the pods that work on directories run. */
export const helperNamespace = 'kube-system';
/** On such pods: the key of the claim or volume that they work for. */
export const purposeAnnotation = 'berth.io/local-volume';
export const helperLabel = 'berth.io/local-volume-helper';
const helperImage = 'localhost/berth/busybox:1';
const mountPath = '/volumes';

/** The name of the volume of a claim. */
export function volumeNameOf({ metadata }: PersistentVolumeClaim): string {
  return `pvc-${metadata.uid}`;
}

/** Why the claim cannot have a local volume; undefined when it can. */
export function claimProblem({ spec }: PersistentVolumeClaim): string | undefined {
  if (spec.volumeMode === 'Block') return 'local volumes are directories: volumeMode Block is not supported';
  if (spec.selector !== undefined) return 'claim.spec.selector is not supported';
  if (spec.dataSource !== undefined || spec.dataSourceRef !== undefined) return 'a data source is not supported';
  const modes = spec.accessModes ?? [];
  if (modes.some((mode) => mode !== 'ReadWriteOnce' && mode !== 'ReadWriteOncePod')) {
    return 'local volumes are on one node: only ReadWriteOnce and ReadWriteOncePod are supported';
  }
  return undefined;
}

/** A pod that makes (or removes) the volume's directory below `directory` of the node. */
export function helperPod(
  action: 'create' | 'remove',
  volumeName: string,
  node: string,
  directory: string,
  purpose: string,
): Draft<Pod> {
  const target = `${mountPath}/${volumeName}`;
  const command = action === 'create' ? ['mkdir', '-p', '-m', '0777', target] : ['rm', '-rf', target];
  return {
    metadata: {
      name: `${action}-${volumeName}`,
      labels: { [helperLabel]: action },
      annotations: { [purposeAnnotation]: purpose },
    },
    spec: {
      nodeName: node,
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      enableServiceLinks: false,
      terminationGracePeriodSeconds: 0,
      activeDeadlineSeconds: 120,
      tolerations: [{ operator: 'Exists' }],
      containers: [
        {
          name: 'directory',
          image: helperImage,
          imagePullPolicy: 'IfNotPresent',
          command,
          volumeMounts: [{ name: 'volumes', mountPath }],
        },
      ],
      volumes: [{ name: 'volumes', hostPath: { path: directory, type: 'DirectoryOrCreate' } }],
    },
  };
}

/** The volume of a claim on a node. */
export function localVolume(claim: PersistentVolumeClaim, node: Node, storageClass: StorageClass, directory: string) {
  const name = volumeNameOf(claim);
  const hostname = node.metadata.labels?.['kubernetes.io/hostname'] ?? node.metadata.name;
  const { namespace, uid, resourceVersion } = claim.metadata;
  const matchExpressions = [{ key: 'kubernetes.io/hostname', operator: 'In', values: [hostname] }];
  return {
    metadata: { name, annotations: { [provisionedByAnnotation]: localProvisioner } },
    spec: {
      accessModes: claim.spec.accessModes ?? [],
      capacity: { storage: claim.spec.resources?.requests?.['storage'] ?? '0' },
      claimRef: {
        apiVersion: 'v1',
        kind: 'PersistentVolumeClaim',
        namespace,
        name: claim.metadata.name,
        uid,
        resourceVersion,
      },
      local: { path: posix.join(directory, name) },
      mountOptions: storageClass.mountOptions,
      nodeAffinity: { required: { nodeSelectorTerms: [{ matchExpressions }] } },
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? 'Delete',
      storageClassName: storageClass.metadata.name,
      volumeMode: 'Filesystem',
    },
  };
}
