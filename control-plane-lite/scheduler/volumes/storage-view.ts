// What the scheduler sees of storage: claims, volumes, classes, limits of nodes, and which volumes it has given away
// before the server knows.
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { CSINode, StorageClass } from '#kube/api/generated/storage-v1.ts';
import type { Informer, Lister } from '#kube/informer/types.ts';

/** Informers of everything that decides where a pod with claims may go. */
export interface StorageInformers {
  persistentvolumeclaims: Informer<PersistentVolumeClaim>;
  persistentvolumes: Informer<PersistentVolume>;
  storageclasses: Informer<StorageClass>;
  csinodes: Informer<CSINode>;
}

/** The same, only read. */
export interface StorageView {
  claims: Pick<Lister<PersistentVolumeClaim>, 'get'>;
  volumes: Pick<Lister<PersistentVolume>, 'get' | 'list'>;
  classes: Pick<Lister<StorageClass>, 'get'>;
  csiNodes: Pick<Lister<CSINode>, 'get'>;
  /** Names of volumes given to a claim, though they do not say so yet. */
  taken: ReadonlySet<string>;
}
