// A small cluster for tests of cluster DNS: services of every kind, in both families.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { namedAddresses, namedHosts } from '../../proxy/dns/named-hosts.ts';
import type { ClusterNames } from '../../proxy/dns/resolve-name.ts';

function service(name: string, spec: Partial<Service['spec']>, namespace = 'ns'): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec };
}

function slice(owner: string, name: string, rest: Partial<EndpointSlice>): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name, namespace: 'ns', labels: { 'kubernetes.io/service-name': owner } },
    addressType: 'IPv4',
    endpoints: [],
    ...rest,
  };
}

const services = [
  service('web', {
    clusterIP: '10.96.0.7',
    clusterIPs: ['10.96.0.7', 'fd00::7'],
    ports: [
      { name: 'http', port: 80, protocol: 'TCP' },
      { name: 'dns', port: 53, protocol: 'UDP' },
      { name: 'dns-tcp', port: 53, protocol: 'TCP' },
    ],
  }),
  service('plain', { clusterIP: '10.96.0.8', clusterIPs: ['10.96.0.8'], ports: [{ port: 80 }] }),
  service('db', { clusterIP: 'None', clusterIPs: ['None'], ports: [{ name: 'sql', port: 5432 }] }),
  service('idle', { clusterIP: 'None', ports: [{ name: 'sql', port: 5432 }] }),
  service('early', { clusterIP: 'None', publishNotReadyAddresses: true }),
  service('many', { clusterIP: 'None', ports: [{ name: 'peer', port: 1 }] }),
  service('out', { type: 'ExternalName', externalName: 'example.com' }),
  service('dotted', { type: 'ExternalName', externalName: 'WEB.ns.svc.cluster.local.' }),
  service('alias', { type: 'ExternalName', externalName: 'web.ns.svc.cluster.local' }),
  service('loop', { type: 'ExternalName', externalName: 'loop.ns.svc.cluster.local' }),
  service('wrong', { type: 'ExternalName', externalName: `${'x'.repeat(70)}.example.com` }),
  service('kube-dns', { clusterIP: '10.96.0.10', clusterIPs: ['10.96.0.10'] }, 'kube-system'),
];

const sql = [{ name: 'sql', port: 5432, protocol: 'TCP' as const }];
const slices = [
  slice('db', 'db-1', {
    ports: [...sql, { name: '', port: 9 }],
    endpoints: [
      { addresses: ['10.244.0.4'], conditions: { ready: true }, hostname: 'db-0' },
      { addresses: ['10.244.0.5'], conditions: { ready: true } },
      { addresses: ['10.244.0.6'], conditions: { ready: false } },
    ],
  }),
  // The same endpoint again, as while slices are being rearranged.
  slice('db', 'db-2', { ports: sql, endpoints: [{ addresses: ['10.244.0.5'], conditions: { ready: true } }] }),
  slice('db', 'db-6', {
    addressType: 'IPv6',
    ports: [...sql, { name: 'sync', port: 7000, protocol: 'UDP' }],
    endpoints: [{ addresses: ['fd00:244::4'], hostname: 'db-0' }],
  }),
  slice('idle', 'idle-1', { ports: sql, endpoints: [{ addresses: ['10.244.0.9'], conditions: { ready: false } }] }),
  slice('early', 'early-1', {
    endpoints: [{ addresses: ['10.244.0.10'], conditions: { ready: true, serving: false } }],
  }),
  slice('web', 'web-1', { endpoints: [{ addresses: ['10.244.0.11'], hostname: 'web-0' }] }),
  slice('many', 'many-1', {
    ports: [{ name: 'peer', port: 1 }],
    endpoints: Array.from({ length: 200 }, (_, i) => ({ addresses: [`10.245.0.${i}`] })),
  }),
];

/** The names of this cluster. `generation` is what a test makes it. */
export function createDnsNames(generation: () => number = () => 0): ClusterNames {
  const ownerOf = ({ metadata }: EndpointSlice) =>
    `${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name']}`;
  return {
    service: (key) => services.find(({ metadata }) => `${metadata.namespace}/${metadata.name}` === key),
    slices: (key) => slices.filter((each) => ownerOf(each) === key),
    serviceByIP: (ip) => services.find(({ spec }) => spec.clusterIPs?.includes(ip)),
    hostsByIP: (ip) =>
      namedHosts(
        slices.filter((each) => namedAddresses(each).includes(ip)),
        ip,
      ),
    hasServices: (namespace) => services.some(({ metadata }) => metadata.namespace === namespace),
    generation,
  };
}
