// DefaultStorageClass, DefaultIngressClass and StorageObjectInUseProtection: what volumes, claims and ingresses get
// without asking.
import type { PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { Ingress } from '#kube/api/generated/networking-v1.ts';
import { ingressclasses, storageclasses } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { AdmissionPlugin } from './plugin.ts';

const defaultClass = 'storageclass.kubernetes.io/is-default-class';
const betaDefaultClass = 'storageclass.beta.kubernetes.io/is-default-class';
const betaClass = 'volume.beta.kubernetes.io/storage-class';
const defaultIngressClassAnnotation = 'ingressclass.kubernetes.io/is-default-class';
const ingressClassAnnotation = 'kubernetes.io/ingress.class';

/** The newest of the objects that say they are the default. */
function newestDefault<T extends KubeObject>(objects: readonly T[], annotations: readonly string[]): T | undefined {
  const isDefault = ({ metadata }: T) => annotations.some((name) => metadata.annotations?.[name] === 'true');
  const created = ({ metadata }: T) => metadata.creationTimestamp ?? '';
  return objects
    .filter(isDefault)
    .sort((a, b) =>
      created(a) === created(b) ? (a.metadata.name < b.metadata.name ? -1 : 1) : created(a) < created(b) ? 1 : -1,
    )[0];
}

export const defaultStorageClass: AdmissionPlugin = {
  name: 'DefaultStorageClass',
  mutate: ({ verb, served, object, objects, subresource }) => {
    if (verb !== 'create' || subresource !== '' || served.stored.kind !== 'PersistentVolumeClaim') return;
    const claim = object as KubeObject & PersistentVolumeClaim;
    if (claim.spec === undefined || claim.spec.storageClassName !== undefined) return;
    if (claim.metadata.annotations?.[betaClass] !== undefined) return;
    const found = newestDefault(objects.list(storageclasses), [defaultClass, betaDefaultClass]);
    if (found !== undefined) claim.spec.storageClassName = found.metadata.name;
  },
};

export const defaultIngressClass: AdmissionPlugin = {
  name: 'DefaultIngressClass',
  mutate: ({ verb, served, object, objects, subresource }) => {
    if (verb !== 'create' || subresource !== '' || served.stored.kind !== 'Ingress') return;
    const ingress = object as KubeObject & Ingress;
    if (ingress.spec?.ingressClassName !== undefined) return;
    if (ingress.metadata.annotations?.[ingressClassAnnotation] !== undefined) return;
    const found = newestDefault(objects.list(ingressclasses), [defaultIngressClassAnnotation]);
    if (found !== undefined) ingress.spec = { ...ingress.spec, ingressClassName: found.metadata.name };
  },
};

const protections: Record<string, string> = {
  PersistentVolumeClaim: 'kubernetes.io/pvc-protection',
  PersistentVolume: 'kubernetes.io/pv-protection',
};

export const storageObjectInUseProtection: AdmissionPlugin = {
  name: 'StorageObjectInUseProtection',
  mutate: ({ verb, served, object, subresource }) => {
    const finalizer = served.stored.group === '' ? protections[served.stored.kind] : undefined;
    if (verb !== 'create' || subresource !== '' || finalizer === undefined || object === undefined) return;
    const finalizers = object.metadata.finalizers ?? [];
    if (!finalizers.includes(finalizer)) object.metadata.finalizers = [...finalizers, finalizer];
  },
};
