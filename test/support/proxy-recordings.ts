// The recorded Services and EndpointSlices, and what kube-proxy programmed for them on node-a.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import { computeServiceState, type PortState } from '../../proxy/model/service-state.ts';
import { planLocalTraffic } from '../../proxy/plan/iptables/local-traffic.ts';
import type { BasePlanOptions } from '../../proxy/plan/iptables/plan-base.ts';
import { planService } from '../../proxy/plan/iptables/plan-service.ts';
import type { ServiceRules } from '../../proxy/plan/iptables/rules.ts';

export const recordingNames = [
  'cluster-ip',
  'node-port',
  'load-balancer',
  'affinity-and-external-ip',
  'policies-and-terminating',
  'dual-stack',
];
const dataDir = join(import.meta.dirname, '../data/proxy');
const nodeName = 'node-a';
/** Addresses by which the cluster knew the recorded node. */
export const nodeIPs = ['192.0.2.10'];
export const clusterCidrs = ['10.244.0.0/16', 'fd00:10:244::/56'];

/** The Service that every cluster has; the recorded node had it too. */
const kubernetes: [Service, EndpointSlice] = [
  {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'kubernetes', namespace: 'default' },
    spec: {
      clusterIP: '10.96.0.1',
      type: 'ClusterIP',
      ports: [{ name: 'https', port: 443, targetPort: 6443, protocol: 'TCP' }],
    },
  },
  {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'kubernetes', namespace: 'default', labels: { 'kubernetes.io/service-name': 'kubernetes' } },
    addressType: 'IPv4',
    ports: [{ name: 'https', port: 6443, protocol: 'TCP' }],
    endpoints: [{ addresses: ['192.0.2.10'], conditions: { ready: true } }],
  },
];

/** The objects of one recording with those every cluster has. */
export function recordedObjects(name: string): { services: Service[]; slices: EndpointSlice[] } {
  const list = JSON.parse(readFileSync(join(dataDir, `${name}.json`), 'utf8')) as {
    items: (Service | EndpointSlice)[];
  };
  const items = [...list.items, ...kubernetes];
  return {
    services: items.filter((item): item is Service => item.kind === 'Service'),
    slices: items.filter((item): item is EndpointSlice => item.kind === 'EndpointSlice'),
  };
}

export function recordedSave(name: string, family: IpFamily): string {
  return readFileSync(join(dataDir, `${name}.${family === 'IPv4' ? 'iptables' : 'ip6tables'}`), 'utf8');
}

export function baseOptions(family: IpFamily): BasePlanOptions {
  return {
    family,
    masqueradeBit: 14,
    randomFully: true,
    conntrackTcpBeLiberal: false,
    localhostNodePorts: true,
    nodePortAddresses: 'all' as const,
  };
}

/** The recorded services as a proxy on the recorded node sees them. */
export function recordedStates(name: string, family: IpFamily): Map<string, Map<string, PortState>> {
  const { services, slices } = recordedObjects(name);
  return new Map(
    services.map((service) => {
      const key = `${service.metadata.namespace}/${service.metadata.name}`;
      const own = slices.filter(
        ({ metadata }) => `${metadata.namespace}/${metadata.labels?.['kubernetes.io/service-name']}` === key,
      );
      return [key, computeServiceState(service, own, family, { nodeName, zone: 'zone-1' })];
    }),
  );
}

/** The service rules that berth plans for a recording on the recorded node. */
export function plannedServices(name: string, family: IpFamily): ServiceRules[] {
  const localTraffic = planLocalTraffic({ mode: 'ClusterCIDR', cidrs: clusterCidrs }, family);
  return [...recordedStates(name, family).values()].flatMap((states) =>
    [...states.values()].map(({ port, endpoints }) =>
      planService(port, endpoints, { localTraffic, masqueradeAll: false, nodeIPs }),
    ),
  );
}

/** Rules by `table CHAIN` of iptables-save output, without what is not kube-proxy's or only counts packets. */
export function parseSave(text: string): Map<string, string[]> {
  const chains = new Map<string, string[]>();
  let table = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('*')) table = line.slice(1);
    const declared = /^:(\S+)/.exec(line);
    if (declared !== null) chains.set(`${table} ${declared[1]}`, chains.get(`${table} ${declared[1]}`) ?? []);
    const added = /^-A (\S+) (.*)$/.exec(line);
    if (added === null) continue;
    // Packet counters through nfacct: berth does not program them.
    if (/localhost_nps_accepted_pkts/.test(line)) continue;
    const rule = (added[2] ?? '').replace(/-m nfacct --nfacct-name {1,2}\S+ /, '');
    chains.get(`${table} ${added[1]}`)?.push(rule);
  }
  return chains;
}
