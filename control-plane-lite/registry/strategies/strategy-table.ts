// Which strategy a kind has.
import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ServiceAllocator } from '../allocation/service-allocator.ts';
import type { Strategy } from '../strategy.ts';
import { certificateSigningRequestStrategy } from './certificate-signing-request.ts';
import { daemonSetStrategy } from './daemon-set.ts';
import { jobStrategy } from './job.ts';
import { namespaceStrategy } from './namespace.ts';
import { podStrategy } from './pod.ts';
import { serviceStrategy } from './service.ts';
import { claimStrategy, persistentVolumeStrategy } from './volume.ts';

/** The table is keyed by group and kind, so the object's type is what each strategy says it takes. */
function of<T extends KubeObject>(strategy: Strategy<T>): Strategy {
  return strategy as unknown as Strategy;
}

const plain: Strategy = {};
const createdByUpdate: Strategy = { allowCreateOnUpdate: true };

/** The strategy of each kind; kinds that are not special share the plain one. */
export function createStrategyTable(services: ServiceAllocator): (resource: Resource) => Strategy {
  const table: Record<string, Strategy> = {
    '/Pod': of(podStrategy),
    '/Namespace': of(namespaceStrategy),
    '/Service': of(serviceStrategy(services)),
    '/PersistentVolume': of(persistentVolumeStrategy),
    '/PersistentVolumeClaim': of(claimStrategy),
    '/Endpoints': createdByUpdate,
    '/Event': createdByUpdate,
    '/LimitRange': createdByUpdate,
    '/PodTemplate': createdByUpdate,
    'apps/DaemonSet': of(daemonSetStrategy),
    'batch/Job': of(jobStrategy),
    'coordination.k8s.io/Lease': createdByUpdate,
    'rbac.authorization.k8s.io/Role': createdByUpdate,
    'rbac.authorization.k8s.io/RoleBinding': createdByUpdate,
    'rbac.authorization.k8s.io/ClusterRole': createdByUpdate,
    'rbac.authorization.k8s.io/ClusterRoleBinding': createdByUpdate,
    'certificates.k8s.io/CertificateSigningRequest': of(certificateSigningRequestStrategy),
    'apiextensions.k8s.io/CustomResourceDefinition': of<KubeObject & CustomResourceDefinition>({
      prepareCreate: (definition) => {
        const stored = definition.spec.versions.filter(({ storage }) => storage).map(({ name }) => name);
        const nothing = null as unknown as undefined;
        definition.status = {
          conditions: nothing,
          acceptedNames: { plural: '', kind: '' },
          storedVersions: stored,
        } as unknown as NonNullable<CustomResourceDefinition['status']>;
      },
      prepareUpdate: ({ spec, status }, _previous, _context, subresource) => {
        const stored = spec.versions.find(({ storage }) => storage)?.name;
        if (subresource !== '' || status === undefined || stored === undefined) return;
        if (!(status.storedVersions ?? []).includes(stored)) {
          status.storedVersions = [...(status.storedVersions ?? []), stored];
        }
      },
    }),
  };
  return ({ group, kind }) => table[`${group}/${kind}`] ?? plain;
}
