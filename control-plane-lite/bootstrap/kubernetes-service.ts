// The service `default/kubernetes`, through which pods reach the API server, with its endpoints: the address that
// this server advertises. Checked again and again: whoever deletes it gets it back.
import type { KubeObject } from '#kube/api/resource.ts';
import { objectKeyIn } from '../registry/object-reader.ts';
import { cacheOf, type Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import { createObject } from '../registry/verbs/create.ts';
import { updateObject } from '../registry/verbs/update.ts';

export interface Advertised {
  /** The first address of the service network. */
  serviceIp: string;
  address: string;
  port: number;
}

const metadata = { name: 'kubernetes', namespace: 'default' };

function wanted({ serviceIp, address, port }: Advertised): KubeObject[] {
  const ports = [{ name: 'https', port, protocol: 'TCP' }];
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { ...metadata, labels: { component: 'apiserver', provider: 'kubernetes' } },
      spec: {
        type: 'ClusterIP',
        clusterIP: serviceIp,
        clusterIPs: [serviceIp],
        ipFamilies: ['IPv4'],
        ipFamilyPolicy: 'SingleStack',
        sessionAffinity: 'None',
        ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: port }],
      },
    } as KubeObject,
    {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: { ...metadata, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
      subsets: [{ addresses: [{ ip: address }], ports }],
    } as KubeObject,
    {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...metadata, labels: { 'kubernetes.io/service-name': 'kubernetes' } },
      addressType: 'IPv4',
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports,
    } as KubeObject,
  ];
}

/** Creates or corrects the service and both forms of its endpoints. */
export async function ensureKubernetesService(
  registry: Registry,
  context: RequestContext,
  advertised: Advertised,
): Promise<void> {
  for (const object of wanted(advertised)) {
    const served = registry.table.findKind(object.apiVersion ?? '', object.kind ?? '');
    if (served === undefined) throw new Error(`${object.kind} is not served`);
    const { namespace, name } = metadata;
    if (cacheOf(registry, served).get(objectKeyIn(served.storagePrefix, namespace, name)) === undefined) {
      await createObject(registry, served, namespace, object, context);
      continue;
    }
    const change = (current: KubeObject): KubeObject => ({
      ...object,
      metadata: { ...current.metadata, labels: { ...current.metadata.labels, ...object.metadata.labels } },
    });
    await updateObject(registry, served, { namespace, name, subresource: '', change, isPatch: true }, context);
  }
}
