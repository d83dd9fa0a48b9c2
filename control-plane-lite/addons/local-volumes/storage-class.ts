// The class of volumes that are directories of the node a pod runs on: the default of a cluster that offers them.
import type { StorageClass } from '#kube/api/generated/storage-v1.ts';

/** Names the provisioner in classes and on volumes. */
export const localProvisioner = 'berth.io/local';

/** Where a claim names no class, it gets this one. */
export const localStorageClass: StorageClass = {
  apiVersion: 'storage.k8s.io/v1',
  kind: 'StorageClass',
  metadata: { name: 'local', annotations: { 'storageclass.kubernetes.io/is-default-class': 'true' } },
  provisioner: localProvisioner,
  reclaimPolicy: 'Delete',
  volumeBindingMode: 'WaitForFirstConsumer',
};
