// The Service kube-dns: every node's proxy answers cluster DNS for the pods of its own node.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import { numberToAddress, parseNetwork } from '#kube/api/ip-address.ts';
import type { Draft } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { ClusterLayout } from './layout.ts';

/** The tenth address of the services' first range, as everywhere. */
export function clusterDnsIP({ serviceCidrs }: Pick<ClusterLayout, 'serviceCidrs'>): string {
  const network = parseNetwork(serviceCidrs[0] ?? '');
  if (network === undefined) throw new Error(`${serviceCidrs[0]} is not an address range`);
  return numberToAddress(network.base + 10n, network.family);
}

/** Not 53, which a resolver of the machine may have. */
export const nodeDnsPort = 10053;

const name = 'kube-dns';
const namespace = 'kube-system';
const ports = [
  { name: 'dns', protocol: 'UDP' },
  { name: 'dns-tcp', protocol: 'TCP' },
];

export function clusterDnsService(clusterIP: string): Draft<Service> {
  const labels = { 'k8s-app': name, 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'berth-dns' };
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels },
    spec: {
      clusterIP,
      internalTrafficPolicy: 'Local',
      ports: ports.map((port) => ({ ...port, port: 53, targetPort: nodeDnsPort })),
    },
  };
}

/** The endpoints of kube-dns: one on each node. */
export function clusterDnsSlice(nodes: readonly { name: string; address: string }[]): Draft<EndpointSlice> {
  const labels = { 'kubernetes.io/service-name': name, 'endpointslice.kubernetes.io/managed-by': 'berth-up' };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `${name}-nodes`, namespace, labels },
    addressType: 'IPv4',
    ports: ports.map((port) => ({ ...port, port: nodeDnsPort })),
    endpoints: nodes.map((node) => ({ addresses: [node.address], conditions: { ready: true }, nodeName: node.name })),
  };
}

/** Creates or updates both objects. */
export async function applyClusterDns(
  client: ApiClient,
  layout: Pick<ClusterLayout, 'serviceCidrs'>,
  nodes: readonly { name: string; address: string }[],
): Promise<void> {
  const options = { fieldManager: 'berth-up', force: true };
  const slice = clusterDnsSlice(nodes);
  await client.patch(
    resources.services,
    { namespace, name },
    'apply',
    clusterDnsService(clusterDnsIP(layout)),
    options,
  );
  await client.patch(resources.endpointslices, { namespace, name: `${name}-nodes` }, 'apply', slice, options);
}
