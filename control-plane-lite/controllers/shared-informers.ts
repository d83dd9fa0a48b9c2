// One local copy of each resource that controllers look at, shared by all of them.
import type { Logger } from 'pino';
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
} from '#kube/api/generated/apps-v1.ts';
import type { Job } from '#kube/api/generated/batch-v1.ts';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type {
  ConfigMap,
  Endpoints,
  Namespace,
  Node,
  PersistentVolume,
  PersistentVolumeClaim,
  Pod,
  ReplicationController,
  Service,
  ServiceAccount,
} from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { CSIDriver, CSINode, StorageClass, VolumeAttachment } from '#kube/api/generated/storage-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer, type InformerOptions } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';

/** Index of objects by the uid of their managing controller; empty for objects that have none. */
export const byController = 'controller';
/** Index of pods by the node they run on. */
export const byNode = 'node';
/** Index of EndpointSlices by `namespace/service`. */
export const byService = 'service';

/** Index of pods by each of their labels: `namespace/key=value`. */
export const byLabelPair = 'label-pair';
/** Index of services by the first pair of their selector: `namespace/key=value`. */
export const bySelectorPair = 'selector-pair';

export interface SharedInformers {
  configmaps: Informer<ConfigMap>;
  controllerrevisions: Informer<ControllerRevision>;
  csidrivers: Informer<CSIDriver>;
  csinodes: Informer<CSINode>;
  daemonsets: Informer<DaemonSet>;
  deployments: Informer<Deployment>;
  endpoints: Informer<Endpoints>;
  endpointslices: Informer<EndpointSlice>;
  ipaddresses: Informer<IPAddress>;
  jobs: Informer<Job>;
  leases: Informer<Lease>;
  namespaces: Informer<Namespace>;
  nodes: Informer<Node>;
  persistentvolumeclaims: Informer<PersistentVolumeClaim>;
  persistentvolumes: Informer<PersistentVolume>;
  pods: Informer<Pod>;
  replicasets: Informer<ReplicaSet>;
  replicationcontrollers: Informer<ReplicationController>;
  serviceaccounts: Informer<ServiceAccount>;
  servicecidrs: Informer<ServiceCIDR>;
  services: Informer<Service>;
  statefulsets: Informer<StatefulSet>;
  storageclasses: Informer<StorageClass>;
  volumeattachments: Informer<VolumeAttachment>;
}

function controllerUid(object: KubeObject): string[] {
  return [controllerOf(object)?.uid ?? ''];
}

function firstSelectorPair({ metadata, spec }: Service): string[] {
  const pair = Object.entries(spec?.selector ?? {})[0];
  return pair === undefined ? [] : [`${metadata.namespace}/${pair[0]}=${pair[1]}`];
}

function labelPairs({ metadata }: Pod): string[] {
  return Object.entries(metadata.labels ?? {}).map(([key, value]) => `${metadata.namespace}/${key}=${value}`);
}

/** Pods of the namespace that nobody controls: what a controller may adopt. */
export function orphanPods(pods: Informer<Pod>, namespace: string): Pod[] {
  return pods.byIndex(byController, '').filter(({ metadata }) => metadata.namespace === namespace);
}

/** Services of the pod's namespace that may select it; the caller compares the whole selector. */
export function servicesForLabels(
  services: Informer<Service>,
  namespace: string,
  labels: Record<string, string> | undefined,
): Service[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) =>
    services.byIndex(bySelectorPair, `${namespace}/${key}=${value}`),
  );
}

/** Creates the informers; `runInformers` starts them. */
export function createSharedInformers(deps: { client: ApiClient; clock: Clock; logger: Logger }): SharedInformers {
  const informer = <T extends KubeObject>(
    resource: Resource<T>,
    options: Partial<InformerOptions<T>> = {},
  ): Informer<T> => createInformer({ resource, ...deps, ...options });
  return {
    configmaps: informer(resources.configmaps, { fieldSelector: 'metadata.name=kube-root-ca.crt' }),
    controllerrevisions: informer(resources.controllerrevisions, { indexes: { [byController]: controllerUid } }),
    csidrivers: informer(resources.csidrivers),
    csinodes: informer(resources.csinodes),
    daemonsets: informer(resources.daemonsets),
    deployments: informer(resources.deployments),
    endpoints: informer(resources.endpoints),
    endpointslices: informer(resources.endpointslices, {
      indexes: {
        [byService]: ({ metadata }) => [
          `${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name'] ?? ''}`,
        ],
      },
    }),
    ipaddresses: informer(resources.ipaddresses),
    jobs: informer(resources.jobs),
    leases: informer(resources.leases, { namespace: 'kube-node-lease' }),
    namespaces: informer(resources.namespaces),
    nodes: informer(resources.nodes),
    persistentvolumeclaims: informer(resources.persistentvolumeclaims),
    persistentvolumes: informer(resources.persistentvolumes),
    pods: informer(resources.pods, {
      indexes: {
        [byController]: controllerUid,
        [byLabelPair]: labelPairs,
        [byNode]: (pod) => [pod.spec?.nodeName ?? ''],
      },
    }),
    replicasets: informer(resources.replicasets, { indexes: { [byController]: controllerUid } }),
    replicationcontrollers: informer(resources.replicationcontrollers, { indexes: { [byController]: controllerUid } }),
    serviceaccounts: informer(resources.serviceaccounts),
    servicecidrs: informer(resources.servicecidrs),
    services: informer(resources.services, { indexes: { [bySelectorPair]: firstSelectorPair } }),
    statefulsets: informer(resources.statefulsets),
    storageclasses: informer(resources.storageclasses),
    volumeattachments: informer(resources.volumeattachments),
  };
}

/** The informers that see every object of their resource, for the garbage collector. */
export function wholeInformers(informers: SharedInformers): { resource: Resource; informer: Informer<KubeObject> }[] {
  const pair = <T extends KubeObject>(resource: Resource<T>, informer: Informer<T>) => ({
    resource,
    // Its handlers only read metadata, which all kinds have.
    informer: informer as unknown as Informer<KubeObject>,
  });
  return [
    pair(resources.controllerrevisions, informers.controllerrevisions),
    pair(resources.csidrivers, informers.csidrivers),
    pair(resources.csinodes, informers.csinodes),
    pair(resources.daemonsets, informers.daemonsets),
    pair(resources.deployments, informers.deployments),
    pair(resources.endpoints, informers.endpoints),
    pair(resources.endpointslices, informers.endpointslices),
    pair(resources.ipaddresses, informers.ipaddresses),
    pair(resources.jobs, informers.jobs),
    pair(resources.namespaces, informers.namespaces),
    pair(resources.nodes, informers.nodes),
    pair(resources.persistentvolumeclaims, informers.persistentvolumeclaims),
    pair(resources.persistentvolumes, informers.persistentvolumes),
    pair(resources.pods, informers.pods),
    pair(resources.replicasets, informers.replicasets),
    pair(resources.replicationcontrollers, informers.replicationcontrollers),
    pair(resources.serviceaccounts, informers.serviceaccounts),
    pair(resources.servicecidrs, informers.servicecidrs),
    pair(resources.services, informers.services),
    pair(resources.statefulsets, informers.statefulsets),
    pair(resources.storageclasses, informers.storageclasses),
    pair(resources.volumeattachments, informers.volumeattachments),
  ];
}

/** Runs all informers until the signal is aborted. */
export async function runInformers(informers: SharedInformers, signal: AbortSignal): Promise<void> {
  await Promise.all(
    Object.values(informers).map(async (informer: { run(signal: AbortSignal): Promise<void> }) => informer.run(signal)),
  );
}

/** Resolves when every informer has its first list. */
export async function informersSynced(informers: SharedInformers): Promise<void> {
  await Promise.all(Object.values(informers).map(async (informer: { synced: Promise<void> }) => informer.synced));
}
