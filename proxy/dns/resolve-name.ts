// Names of the cluster domain, by Kubernetes' DNS specification 1.1. Pure: objects are read through `ClusterNames`.
import { isIP } from 'node:net';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { Endpoint, EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { canonicalAddress } from '../model/cidr.ts';

/** What is known of the cluster, by `namespace/name` of the Service. */
export interface ClusterNames {
  service(key: string): Service | undefined;
  slices(serviceKey: string): EndpointSlice[];
  /** The Service that has this cluster IP. */
  serviceByIP(ip: string): Service | undefined;
  /** Endpoints of headless services with this address that have a hostname. */
  hostsByIP(ip: string): { hostname: string; serviceKey: string }[];
}

export interface DnsRecord {
  name: string;
  type: 'A' | 'AAAA' | 'CNAME' | 'SRV' | 'PTR' | 'TXT' | 'SOA';
  ttl: number;
  data: unknown;
}

/** `outside`: not a name of the cluster, ask elsewhere. `absent`: the cluster has no such name. */
export type Resolution =
  | { kind: 'outside' }
  | { kind: 'absent' }
  /** No records means that the name exists with other types. */
  | { kind: 'records'; records: DnsRecord[]; additional: DnsRecord[] };

const ttl = 5;
const none: Resolution = { kind: 'absent' };
const empty: Resolution = { kind: 'records', records: [], additional: [] };

function addressRecord(name: string, ip: string): DnsRecord {
  return { name, type: ip.includes(':') ? 'AAAA' : 'A', ttl, data: ip };
}

/** The label under which one endpoint of a headless service is found. */
function endpointLabel(endpoint: Endpoint, address: string): string {
  return endpoint.hostname ?? address.replaceAll(/[.:]/g, '-');
}

interface ReadyEndpoint {
  label: string;
  address: string;
  ports: NonNullable<EndpointSlice['ports']>;
}

function readyEndpoints(slices: readonly EndpointSlice[]): ReadyEndpoint[] {
  return slices.flatMap((slice) =>
    (slice.endpoints ?? [])
      .filter((endpoint) => endpoint.conditions?.ready ?? true)
      .flatMap((endpoint) =>
        endpoint.addresses.map((address) => ({
          label: endpointLabel(endpoint, address),
          address,
          ports: slice.ports ?? [],
        })),
      ),
  );
}

function found(records: DnsRecord[], type: string, additional: DnsRecord[] = []): Resolution {
  return {
    kind: 'records',
    records: records.filter((record) => record.type === type || record.type === 'CNAME'),
    additional,
  };
}

/** Records of `NAME.NAMESPACE.svc.ZONE` and of the names below it. */
function resolveService(
  names: ClusterNames,
  labels: readonly string[],
  fullName: string,
  type: string,
  zone: string,
): Resolution {
  const [namespace = '', name = '', ...below] = [...labels].reverse();
  const key = `${namespace}/${name}`;
  const service = names.service(key);
  if (service === undefined) return none;
  const base = `${name}.${namespace}.svc.${zone}`;
  const { spec } = service;
  if (spec.type === 'ExternalName') {
    if (below.length > 0) return none;
    return found([{ name: fullName, type: 'CNAME', ttl, data: spec.externalName ?? '' }], type);
  }
  const headless = spec.clusterIP === 'None';
  const endpoints = headless ? readyEndpoints(names.slices(key)) : [];
  if (below.length === 0) {
    const ips = headless ? endpoints.map(({ address }) => address) : (spec.clusterIPs ?? [spec.clusterIP ?? '']);
    return headless && ips.length === 0
      ? none
      : found(
          ips.map((ip) => addressRecord(fullName, ip)),
          type,
        );
  }
  const [protocol = '', port = ''] = below;
  if (below.length === 2 && protocol.startsWith('_') && port.startsWith('_')) {
    return resolveSrv(
      { service, endpoints, headless, base, fullName, port: port.slice(1), protocol: protocol.slice(1) },
      type,
    );
  }
  const [label] = below;
  const own = below.length === 1 && headless ? endpoints.filter((endpoint) => endpoint.label === label) : [];
  return own.length === 0
    ? none
    : found(
        own.map(({ address }) => addressRecord(fullName, address)),
        type,
      );
}

function resolveSrv(
  query: {
    service: Service;
    endpoints: ReadyEndpoint[];
    headless: boolean;
    base: string;
    fullName: string;
    port: string;
    protocol: string;
  },
  type: string,
): Resolution {
  const { service, endpoints, headless, base, fullName } = query;
  const matches = (port: { name?: string | undefined; protocol?: string | undefined }) =>
    port.name === query.port && (port.protocol ?? 'TCP').toLowerCase() === query.protocol;
  const srv = (target: string, port: number): DnsRecord => ({
    name: fullName,
    type: 'SRV',
    ttl,
    data: { priority: 0, weight: 100, port, target },
  });
  if (!headless) {
    const port = service.spec.ports?.find(matches);
    if (port === undefined) return none;
    const ips = service.spec.clusterIPs ?? [service.spec.clusterIP ?? ''];
    return found(
      [srv(base, port.port)],
      type,
      ips.map((ip) => addressRecord(base, ip)),
    );
  }
  const hits = endpoints.flatMap((endpoint) => {
    const port = endpoint.ports.find(matches)?.port;
    return port === undefined ? [] : [{ endpoint, port, target: `${endpoint.label}.${base}` }];
  });
  if (hits.length === 0) return none;
  return found(
    hits.map(({ target, port }) => srv(target, port)),
    type,
    hits.map(({ target, endpoint }) => addressRecord(target, endpoint.address)),
  );
}

/** `10-244-0-5.NAMESPACE.pod.ZONE`: the address is in the name. */
function resolvePod(labels: readonly string[], fullName: string, type: string): Resolution {
  const [label = '', namespace, ...more] = labels;
  if (namespace === undefined || more.length > 0) return none;
  const address = [label.replaceAll('-', '.'), label.replaceAll('-', ':')].find((text) => isIP(text) !== 0);
  return address === undefined ? none : found([addressRecord(fullName, address)], type);
}

/** The address that a name of the reverse zones stands for. */
function pointedAddress(name: string): string {
  const reversed = (suffix: string) => name.slice(0, -suffix.length).split('.').reverse();
  if (/\.(in-addr|ip6)\.arpa$/.test(name)) return reversed('.in-addr.arpa').join('.');
  const digits = reversed('.ip6.arpa').join('');
  return canonicalAddress(digits.replace(/(.{4})(?!$)/g, '$1:'));
}

/** Services by their address; endpoints of headless services that have a name of their own. */
function resolvePointer(names: ClusterNames, name: string, type: string, zone: string): Resolution {
  const ip = pointedAddress(name);
  const service = names.serviceByIP(ip);
  const below = (key: string): string => `${key.split('/').reverse().join('.')}.svc.${zone}`;
  const targets =
    service === undefined
      ? names.hostsByIP(ip).map(({ hostname, serviceKey }) => `${hostname}.${below(serviceKey)}`)
      : [below(`${service.metadata.namespace}/${service.metadata.name}`)];
  if (targets.length === 0) return { kind: 'outside' };
  return found(
    targets.map((target) => ({ name, type: 'PTR', ttl, data: target })),
    type,
  );
}

/** Answers one question. Names are compared without regard to case, and answered as they were asked. */
export function resolveName(names: ClusterNames, question: { name: string; type: string }, zone: string): Resolution {
  const asked = question.name.replace(/\.$/, '');
  const name = asked.toLowerCase();
  if (/\.(in-addr|ip6)\.arpa$/.test(name)) return resolvePointer(names, name, question.type, zone);
  if (name === zone) return empty;
  if (!name.endsWith(`.${zone}`)) return { kind: 'outside' };
  const labels = name.slice(0, -zone.length - 1).split('.');
  const group = labels.pop();
  // Names above others: they are there, without records.
  if (labels.length === 0 && (group === 'svc' || group === 'pod')) return empty;
  if (group === 'svc') return labels.length < 2 ? none : resolveService(names, labels, asked, question.type, zone);
  if (group === 'pod') return resolvePod(labels, asked, question.type);
  if (group === 'dns-version' && labels.length === 0)
    return found([{ name: asked, type: 'TXT', ttl, data: '1.1.0' }], question.type);
  return none;
}
