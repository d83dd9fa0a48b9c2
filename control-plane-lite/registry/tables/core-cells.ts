// Rows of core/v1 kinds other than pods, and of events.
import type {
  ConfigMap,
  Endpoints,
  Event,
  Namespace,
  Node,
  PodTemplate,
  ReplicationController,
  ResourceQuota,
  Secret,
  Service,
} from '#kube/api/generated/core-v1.ts';
import type { Event as NewEvent } from '#kube/api/generated/events-v1.ts';
import { age, containerCells, firstOf, joined, labelSet, mapSelectorCell, orNone } from './cell-format.ts';

const countKeys = (map: object | undefined): number => Object.keys(map ?? {}).length;

export function configMapCells(map: ConfigMap, nowMs: number): unknown[] {
  const { name, creationTimestamp } = map.metadata;
  return [name, `${countKeys(map.data) + countKeys(map.binaryData)}`, age(creationTimestamp, nowMs)];
}

export function secretCells(secret: Secret, nowMs: number): unknown[] {
  const { name, creationTimestamp } = secret.metadata;
  return [name, secret.type ?? '', `${countKeys(secret.data)}`, age(creationTimestamp, nowMs)];
}

function hostPort(ip: string, port: number): string {
  return ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
}

export function endpointsCells(endpoints: Endpoints, nowMs: number): unknown[] {
  const texts = (endpoints.subsets ?? []).flatMap((subset) => {
    const ips = (subset.addresses ?? []).map((address) => address.ip);
    const ports = subset.ports ?? [];
    if (ports.length === 0) return ips;
    return ports.flatMap((port) => ips.map((ip) => hostPort(ip, port.port)));
  });
  return [endpoints.metadata.name, firstOf(texts, 3), age(endpoints.metadata.creationTimestamp, nowMs)];
}

export function namespaceCells(namespace: Namespace, nowMs: number): unknown[] {
  const { name, creationTimestamp } = namespace.metadata;
  return [name, namespace.status?.phase ?? '', age(creationTimestamp, nowMs)];
}

function nodeRoles(node: Node): string {
  const prefix = 'node-role.kubernetes.io/';
  const roles = Object.entries(node.metadata.labels ?? {}).flatMap(([key, value]) => {
    if (key.startsWith(prefix) && key.length > prefix.length) return [key.slice(prefix.length)];
    return key === 'kubernetes.io/role' && value !== '' ? [value] : [];
  });
  return orNone([...new Set(roles)].sort().join(','));
}

function nodeStatus(node: Node): string {
  const ready = node.status?.conditions?.find((condition) => condition.type === 'Ready');
  const words = [ready === undefined ? 'Unknown' : ready.status === 'True' ? 'Ready' : 'NotReady'];
  if (node.spec.unschedulable === true) words.push('SchedulingDisabled');
  return words.join(',');
}

export function nodeCells(node: Node, nowMs: number): unknown[] {
  const info = node.status?.nodeInfo;
  const address = (type: string) => node.status?.addresses?.find((a) => a.type === type)?.address;
  const orUnknown = (text: string | undefined) => (text === undefined || text === '' ? '<unknown>' : text);
  return [
    node.metadata.name,
    nodeStatus(node),
    nodeRoles(node),
    age(node.metadata.creationTimestamp, nowMs),
    info?.kubeletVersion ?? '',
    orNone(address('InternalIP')),
    orNone(address('ExternalIP')),
    orUnknown(info?.osImage),
    orUnknown(info?.kernelVersion),
    orUnknown(info?.containerRuntimeVersion),
  ];
}

export function replicationControllerCells(controller: ReplicationController, nowMs: number): unknown[] {
  const { metadata, spec, status } = controller;
  return [
    metadata.name,
    spec.replicas ?? 0,
    status?.replicas ?? 0,
    status?.readyReplicas ?? 0,
    age(metadata.creationTimestamp, nowMs),
    ...containerCells(spec.template?.spec),
    mapSelectorCell(spec.selector),
  ];
}

export function podTemplateCells(template: PodTemplate): unknown[] {
  const pod = template.template;
  return [template.metadata.name, ...containerCells(pod?.spec), labelSet(pod?.metadata?.labels)];
}

export function resourceQuotaCells(quota: ResourceQuota, nowMs: number): unknown[] {
  const { hard = {}, used = {} } = quota.status ?? {};
  const entries = Object.keys(hard).sort();
  const text = (names: string[]) => names.map((name) => `${name}: ${used[name] ?? '0'}/${hard[name]}`).join(', ');
  const limits = entries.filter((name) => name.startsWith('limits.'));
  const requests = entries.filter((name) => !name.startsWith('limits.'));
  return [quota.metadata.name, text(requests), text(limits), age(quota.metadata.creationTimestamp, nowMs)];
}

function externalIPs(service: Service): string {
  const { spec, status } = service;
  const external = spec.externalIPs ?? [];
  switch (spec.type) {
    case 'LoadBalancer': {
      const ingress = status?.loadBalancer?.ingress ?? [];
      const all = [...ingress.map((entry) => entry.ip || entry.hostname || ''), ...external];
      return all.length > 0 ? all.join(',') : '<pending>';
    }
    case 'ExternalName':
      return spec.externalName ?? '';
    default:
      return joined(external);
  }
}

export function serviceCells(service: Service, nowMs: number): unknown[] {
  const { metadata, spec } = service;
  const ports = (spec.ports ?? []).map((port) => {
    const number = port.nodePort ? `${port.port}:${port.nodePort}` : `${port.port}`;
    return `${number}/${port.protocol}`;
  });
  return [
    metadata.name,
    spec.type ?? '',
    orNone(spec.clusterIPs?.[0] ?? spec.clusterIP),
    externalIPs(service),
    joined(ports),
    age(metadata.creationTimestamp, nowMs),
    mapSelectorCell(spec.selector),
  ];
}

export function eventCells(event: Event, nowMs: number): unknown[] {
  const first = event.firstTimestamp ?? event.eventTime;
  const last = event.series?.lastObservedTime ?? event.lastTimestamp ?? first;
  const target = event.involvedObject;
  const source = [event.source?.component || event.reportingComponent, event.source?.host || event.reportingInstance];
  return [
    age(last, nowMs),
    event.type ?? '',
    event.reason ?? '',
    target.kind ? `${target.kind.toLowerCase()}/${target.name ?? ''}` : (target.name ?? ''),
    target.fieldPath ?? '',
    source.filter((text) => text !== undefined && text !== '').join(', '),
    (event.message ?? '').trim(),
    age(first, nowMs),
    event.series?.count ?? (event.count || 1),
    event.metadata.name,
  ];
}

/** The same row from the events.k8s.io view of an event. */
export function newEventCells(event: NewEvent, nowMs: number): unknown[] {
  const { regarding, note, deprecatedSource, deprecatedCount, reportingController, ...same } = event;
  const view = { ...same, involvedObject: regarding ?? {}, message: note, source: deprecatedSource };
  const times = { firstTimestamp: event.deprecatedFirstTimestamp, lastTimestamp: event.deprecatedLastTimestamp };
  return eventCells({ ...view, ...times, count: deprecatedCount, reportingComponent: reportingController }, nowMs);
}
