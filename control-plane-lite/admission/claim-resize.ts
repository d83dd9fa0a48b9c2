// PersistentVolumeClaimResize: claims grow only where their class says that volumes can.
import type { PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, storageclasses } from '#kube/api/generated/resources.ts';
import { storageClassOf } from '#kube/api/persistent-volumes.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { forbidden } from '../registry/status-errors.ts';
import type { AdmissionPlugin } from './plugin.ts';

const requestOf = ({ spec }: PersistentVolumeClaim) => quantityValue(spec?.resources?.requests?.['storage']);

export const claimResize: AdmissionPlugin = {
  name: 'PersistentVolumeClaimResize',
  validate: ({ verb, served, subresource, name, object, previous, objects }) => {
    if (verb !== 'update' || subresource !== '' || served.stored.kind !== 'PersistentVolumeClaim') return undefined;
    const claim = object as KubeObject & PersistentVolumeClaim;
    const before = previous as KubeObject & PersistentVolumeClaim;
    if (requestOf(claim) <= requestOf(before)) return undefined;
    if (before.status?.phase !== 'Bound') {
      throw forbidden(persistentvolumeclaims, name, 'Only bound persistent volume claims can be expanded');
    }
    const className = storageClassOf(claim);
    const isSame = className !== '' && className === storageClassOf(before);
    if (isSame && objects.get(storageclasses, '', className)?.allowVolumeExpansion === true) return undefined;
    const why =
      'only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize';
    throw forbidden(persistentvolumeclaims, name, why);
  },
};
