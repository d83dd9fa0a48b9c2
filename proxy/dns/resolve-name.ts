// Names of the cluster domain, by Kubernetes' DNS specification 1.1. Pure: objects are read through `ClusterNames`.
import { isIP } from 'node:net';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { canonicalAddress } from '#kube/api/ip-address.ts';
import { endpointLabel, isReady } from './named-hosts.ts';

/** What is known of the cluster, by `namespace/name` of the Service. */
export interface ClusterNames {
  service(key: string): Service | undefined;
  slices(serviceKey: string): EndpointSlice[];
  /** The Service that has this cluster IP. */
  serviceByIP(ip: string): Service | undefined;
  /** Ready endpoints with this address, of all kinds of services. */
  hostsByIP(ip: string): { hostname: string; serviceKey: string }[];
  /** Whether there is a Service in this namespace. */
  hasServices(namespace: string): boolean;
  /** Another number whenever an object has changed. */
  generation(): number;
}

interface RecordData {
  A: string;
  AAAA: string;
  CNAME: string;
  NS: string;
  PTR: string;
  TXT: string;
  SRV: { priority: number; weight: number; port: number; target: string };
  SOA: {
    mname: string;
    rname: string;
    serial: number;
    refresh: number;
    retry: number;
    expire: number;
    minimum: number;
  };
}

export type DnsRecord = {
  [Type in keyof RecordData]: { name: string; type: Type; ttl: number; data: RecordData[Type] };
}[keyof RecordData];

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

interface ReadyEndpoint {
  label: string;
  address: string;
  ports: NonNullable<EndpointSlice['ports']>;
}

function readyEndpoints(slices: readonly EndpointSlice[]): ReadyEndpoint[] {
  return slices.flatMap((slice) =>
    (slice.endpoints ?? []).filter(isReady).flatMap((endpoint) =>
      endpoint.addresses.map((address) => ({
        label: endpointLabel(endpoint, address),
        address,
        ports: slice.ports ?? [],
      })),
    ),
  );
}

/** The records of a name that has these. An address that several slices have is answered once; ANY gets one type. */
function found(records: readonly DnsRecord[], type: string, additional: readonly DnsRecord[] = []): Resolution {
  const wanted = type === 'ANY' ? records[0]?.type : type;
  const own = unique(records.filter((record) => record.type === wanted || record.type === 'CNAME'));
  return { kind: 'records', records: own, additional: own.length === 0 ? [] : unique(additional) };
}

function unique(records: readonly DnsRecord[]): DnsRecord[] {
  if (records.length < 2) return [...records];
  return [...new Map(records.map((record) => [JSON.stringify([record.name, record.data]), record])).values()];
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
  if (below.length === 1 && protocol.startsWith('_')) {
    const ports = headless ? endpoints.flatMap((endpoint) => endpoint.ports) : (spec.ports ?? []);
    const named = ports.filter((each) => (each.name ?? '') !== '');
    // A name with names below it exists, without records of its own.
    return named.some((each) => `_${(each.protocol ?? 'TCP').toLowerCase()}` === protocol) ? empty : none;
  }
  const [label] = below;
  const own =
    below.length === 1 && headless ? endpoints.filter((endpoint) => endpoint.label.toLowerCase() === label) : [];
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
    query.port !== '' && port.name === query.port && (port.protocol ?? 'TCP').toLowerCase() === query.protocol;
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

/** `10-244-0-5.NAMESPACE.pod.ZONE`: the address is in the name, with dashes for its dots or colons. */
function resolvePod(labels: readonly string[], fullName: string, type: string): Resolution {
  const [address = '', namespace, ...more] = labels;
  if (namespace === undefined) return empty;
  if (more.length > 0) return none;
  const ip = [address.replaceAll('-', '.'), address.replaceAll('-', ':')].find((text) => isIP(text) !== 0);
  return ip === undefined ? none : found([addressRecord(fullName, ip)], type);
}

/** The address that a name of a reverse zone is about; undefined for other names and for parts of an address. */
function reverseAddress(name: string): string | undefined {
  const [, labels = '', family] = /^(.+)\.(in-addr|ip6)\.arpa$/.exec(name) ?? [];
  const parts = labels.split('.').reverse();
  if (family === 'in-addr') return isIP(parts.join('.')) === 4 ? parts.join('.') : undefined;
  if (parts.length !== 32 || parts.some((part) => !/^[0-9a-f]$/.test(part))) return undefined;
  return canonicalAddress(parts.join('').replace(/(.{4})(?!$)/g, '$1:'));
}

/** Addresses that are not the cluster's are asked for elsewhere. */
function resolvePointer(names: ClusterNames, name: string, type: string, zone: string): Resolution {
  const ip = reverseAddress(name);
  if (ip === undefined) return { kind: 'outside' };
  const pointer = (data: string): DnsRecord => ({ name, type: 'PTR', ttl, data });
  const service = names.serviceByIP(ip);
  if (service !== undefined) {
    return found([pointer(`${service.metadata.name}.${service.metadata.namespace}.svc.${zone}`)], type);
  }
  const pointers = names.hostsByIP(ip).flatMap(({ hostname, serviceKey }) => {
    const { metadata, spec } = names.service(serviceKey) ?? {};
    if (spec?.clusterIP !== 'None') return [];
    return [pointer(`${hostname}.${metadata?.name}.${metadata?.namespace}.svc.${zone}`)];
  });
  return pointers.length === 0 ? { kind: 'outside' } : found(pointers, type);
}

/** What a zone says of itself, and for how long it holds that something is not there (RFC 2308). */
export function startOfAuthority(zone: string): DnsRecord {
  const data = {
    mname: `ns.dns.${zone}`,
    rname: `hostmaster.${zone}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86_400,
    minimum: ttl,
  };
  return { name: zone, type: 'SOA', ttl, data };
}

/** The name server that the zone names: cluster DNS as pods know it. */
function resolveNameServer(names: ClusterNames, fullName: string, type: string): Resolution {
  const { clusterIPs = [] } = names.service('kube-system/kube-dns')?.spec ?? {};
  return found(
    clusterIPs.filter((ip) => isIP(ip) !== 0).map((ip) => addressRecord(fullName, ip)),
    type,
  );
}

/**
 * Answers one question. The zone is in lower case; names are compared without regard to case, and answered as they
 * were asked.
 */
export function resolveName(names: ClusterNames, question: { name: string; type: string }, zone: string): Resolution {
  const asked = question.name.replace(/\.$/, '');
  const { type } = question;
  const name = asked.toLowerCase();
  if (name.endsWith('.arpa')) return resolvePointer(names, name, type, zone);
  if (name === zone) {
    return found([startOfAuthority(zone), { name: zone, type: 'NS', ttl, data: `ns.dns.${zone}` }], type);
  }
  if (!name.endsWith(`.${zone}`)) return { kind: 'outside' };
  const labels = name.slice(0, -zone.length - 1).split('.');
  const group = labels.pop();
  switch (group) {
    case 'svc': {
      const [namespace = ''] = labels;
      if (labels.length === 0) return empty;
      if (labels.length === 1) return names.hasServices(namespace) ? empty : none;
      return resolveService(names, labels, asked, type, zone);
    }
    case 'pod':
      return labels.length === 0 ? empty : resolvePod(labels, asked, type);
    case 'dns':
      if (labels.length === 0) return empty;
      return labels.length === 1 && labels[0] === 'ns' ? resolveNameServer(names, asked, type) : none;
    case 'dns-version':
      return labels.length === 0 ? found([{ name: asked, type: 'TXT', ttl, data: '1.1.0' }], type) : none;
    default:
      return none;
  }
}
