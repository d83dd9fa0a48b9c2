// A generated model of services for the proxy's bench: cluster IPs with a few endpoints each.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import type { ServiceState } from '../proxy/apply/rule-applier.ts';
import { computeServiceState } from '../proxy/model/service-state.ts';

export const endpointsEach = 4;

/** The service with this number, as objects of the API. */
export function generateService(index: number): { service: Service; slice: EndpointSlice } {
  const name = `s-${index}`;
  const addresses = Array.from(
    { length: endpointsEach },
    (_, j) => `10.${128 + (index >> 12)}.${(index >> 4) & 255}.${((index & 15) << 4) + j}`,
  );
  return {
    service: {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: 'bench' },
      spec: {
        type: 'ClusterIP',
        clusterIP: `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
        ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      },
    },
    slice: {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name, namespace: 'bench', labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    },
  };
}

/** What a proxy makes of the service with this number. */
export function generateState(index: number): [string, ServiceState] {
  const { service, slice } = generateService(index);
  const state = computeServiceState(service, [slice], 'IPv4', { nodeName: 'a', zone: undefined });
  return [`bench/${service.metadata.name}`, state];
}
