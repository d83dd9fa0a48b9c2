// What every cluster holds from its first moment: system namespaces, default roles, priority classes, flow schemas.
// Ensured at every start; what is there is kept.
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import type { ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isAlreadyExists } from '#kube/errors/status-error.ts';
import { localStorageClass } from '../addons/local-volumes/storage-class.ts';
import { objectKeyIn } from '../registry/object-reader.ts';
import { cacheOf, type Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import { createObject } from '../registry/verbs/create.ts';
import { updateObject } from '../registry/verbs/update.ts';
import { nodeNetworkBinding, nodeNetworkRole } from './node-network-role.ts';
import { reconcileRole } from './reconcile-role.ts';

export interface BootstrapOptions {
  serviceCidrs: readonly string[];
  clientCaPem: string;
  /** The cluster offers volumes on its nodes' own disks. */
  localVolumes?: boolean;
  /** Proxies make the network of pods. */
  nodeNetwork?: boolean;
}

function readData(name: string): KubeObject[] {
  return JSON.parse(readFileSync(new URL(`./data/${name}`, import.meta.url), 'utf8')) as KubeObject[];
}

function serviceCidr(options: BootstrapOptions): KubeObject {
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'ServiceCIDR',
    metadata: { name: 'kubernetes', finalizers: ['networking.k8s.io/service-cidr-finalizer'] },
    spec: { cidrs: [...options.serviceCidrs] },
  } as KubeObject;
}

function authenticationConfig(options: BootstrapOptions): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' },
    data: { 'client-ca-file': options.clientCaPem },
  } as KubeObject;
}

/** Lets the API server's own certificate use the agents' APIs. */
function kubeletAdminBinding(): KubeObject {
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRoleBinding',
    metadata: { name: 'berth:apiserver-kubelet-admin' },
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'system:kubelet-api-admin' },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'kube-apiserver-kubelet-client' }],
  } as KubeObject;
}

/** Lets whoever may view see what pods and nodes use, as metrics-server's own manifest does. */
function metricsReaderRole(): KubeObject {
  const aggregated = ['admin', 'edit', 'view'].map((role) => [
    `rbac.authorization.k8s.io/aggregate-to-${role}`,
    'true',
  ]);
  return {
    apiVersion: 'rbac.authorization.k8s.io/v1',
    kind: 'ClusterRole',
    metadata: { name: 'system:aggregated-metrics-reader', labels: Object.fromEntries(aggregated) },
    rules: [{ apiGroups: ['metrics.k8s.io'], resources: ['pods', 'nodes'], verbs: ['get', 'list', 'watch'] }],
  } as KubeObject;
}

/** A cluster that gets a second address family has its own ranges in one object, as before. */
async function addSecondRange(
  registry: Registry,
  served: ServedResource,
  wanted: KubeObject,
  present: KubeObject,
  context: RequestContext,
): Promise<void> {
  if (served.resource.kind !== 'ServiceCIDR') return;
  const { cidrs = [] } = (wanted as ServiceCIDR).spec ?? {};
  const { cidrs: had = [] } = (present as ServiceCIDR).spec ?? {};
  if (had.length !== 1 || cidrs.length !== 2 || had[0] !== cidrs[0]) return;
  const change = (current: KubeObject) => ({ ...current, spec: { cidrs } }) as KubeObject;
  const { name } = present.metadata;
  await updateObject(registry, served, { namespace: '', name, subresource: '', change, isPatch: true }, context);
}

/** Creates what is missing and brings default roles up to date. Throws when the store refuses. */
export async function ensureBootstrapObjects(
  registry: Registry,
  context: RequestContext,
  options: BootstrapOptions,
  logger: Logger,
): Promise<void> {
  const ensure = async (object: KubeObject): Promise<void> => {
    const served = registry.table.findKind(object.apiVersion ?? '', object.kind ?? '');
    if (served === undefined) throw new Error(`the bootstrap kind ${object.apiVersion} ${object.kind} is not served`);
    const { namespace = '', name } = object.metadata;
    const existing = cacheOf(registry, served).get(objectKeyIn(served.storagePrefix, namespace, name));
    if (existing !== undefined) {
      const present = registry.parse(existing);
      await reconcileRole(registry, served, object, present, context);
      await addSecondRange(registry, served, object, present, context);
      return;
    }
    try {
      await createObject(registry, served, namespace, object, context);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  };
  const groups = Object.groupBy(readData('objects.json'), ({ kind }) => (kind === 'Namespace' ? 'first' : 'later'));
  await Promise.all((groups.first ?? []).map(ensure));
  const rest = [
    ...(groups.later ?? []),
    ...readData('rbac.json'),
    serviceCidr(options),
    authenticationConfig(options),
    kubeletAdminBinding(),
    nodeNetworkRole,
    ...(options.nodeNetwork === true ? [nodeNetworkBinding] : []),
    metricsReaderRole(),
    ...(options.localVolumes === true ? [localStorageClass] : []),
  ];
  await Promise.all(rest.map(ensure));
  logger.debug({ objects: rest.length }, 'the bootstrap objects are there');
}
