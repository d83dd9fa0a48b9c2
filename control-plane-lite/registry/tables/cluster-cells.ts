// Rows of networking, discovery, access, admission, scheduling and resource kinds.
import type { APIService } from '#kube/api/generated/apiregistration-v1.ts';
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/generated/flowcontrol-v1.ts';
import type {
  Ingress,
  IngressClass,
  IPAddress,
  NetworkPolicy,
  ServiceCIDR,
} from '#kube/api/generated/networking-v1.ts';
import type { RuntimeClass } from '#kube/api/generated/node-v1.ts';
import type { ClusterRoleBinding, RoleBinding } from '#kube/api/generated/rbac-v1.ts';
import type { ResourceClaim, ResourceSlice } from '#kube/api/generated/resource-v1.ts';
import type { PriorityClass } from '#kube/api/generated/scheduling-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { age, firstOf, humanDuration, joined, orNone, selectorCell } from './cell-format.ts';

export function ingressCells({ metadata, spec, status }: Ingress, nowMs: number): unknown[] {
  const hosts = (spec.rules ?? []).map((rule) => rule.host || '*');
  const addresses = (status?.loadBalancer?.ingress ?? []).map((entry) => entry.ip || entry.hostname || '');
  return [
    metadata.name,
    orNone(spec.ingressClassName),
    hosts.length === 0 ? '*' : firstOf(hosts, 3),
    addresses.join(','),
    (spec.tls ?? []).length > 0 ? '80, 443' : '80',
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function ingressClassCells({ metadata, spec }: IngressClass, nowMs: number): unknown[] {
  const { parameters } = spec;
  const group = parameters?.apiGroup ? `.${parameters.apiGroup}` : '';
  const text = parameters === undefined ? '<none>' : `${parameters.kind}${group}/${parameters.name}`;
  return [metadata.name, spec.controller ?? '', text, age(metadata.creationTimestamp, nowMs)];
}

export function ipAddressCells({ metadata, spec }: IPAddress): unknown[] {
  const { resource, group, namespace, name } = spec.parentRef;
  const what = group ? `${resource}.${group}` : resource;
  return [metadata.name, namespace ? `${what}/${namespace}/${name}` : `${what}/${name}`];
}

export function serviceCidrCells({ metadata, spec }: ServiceCIDR, nowMs: number): unknown[] {
  return [metadata.name, joined(spec.cidrs), age(metadata.creationTimestamp, nowMs)];
}

export function networkPolicyCells({ metadata, spec }: NetworkPolicy, nowMs: number): unknown[] {
  return [metadata.name, selectorCell(spec.podSelector), age(metadata.creationTimestamp, nowMs)];
}

export function endpointSliceCells(slice: EndpointSlice, nowMs: number): unknown[] {
  const ports = (slice.ports ?? []).map((port) => (port.port === undefined ? '*' : `${port.port}`));
  const addresses = (slice.endpoints ?? []).flatMap((endpoint) => endpoint.addresses);
  const unsetOr = (texts: string[]) => (texts.length === 0 ? '<unset>' : firstOf(texts, 3));
  const { name, creationTimestamp } = slice.metadata;
  return [name, slice.addressType, unsetOr(ports), unsetOr(addresses), age(creationTimestamp, nowMs)];
}

export function bindingCells(binding: RoleBinding | ClusterRoleBinding, nowMs: number): unknown[] {
  const named = (kind: string) =>
    (binding.subjects ?? [])
      .filter((subject) => subject.kind === kind)
      .map((subject) => (kind === 'ServiceAccount' ? `${subject.namespace}/${subject.name}` : subject.name))
      .join(', ');
  return [
    binding.metadata.name,
    `${binding.roleRef.kind}/${binding.roleRef.name}`,
    age(binding.metadata.creationTimestamp, nowMs),
    named('User'),
    named('Group'),
    named('ServiceAccount'),
  ];
}

function csrCondition({ status }: CertificateSigningRequest): string {
  const types = new Set((status?.conditions ?? []).map((condition) => condition.type));
  const words = [types.has('Denied') ? 'Denied' : types.has('Approved') ? 'Approved' : 'Pending'];
  if (types.has('Failed')) words.push('Failed');
  if (status?.certificate) words.push('Issued');
  return words.join(',');
}

export function certificateSigningRequestCells(request: CertificateSigningRequest, nowMs: number): unknown[] {
  const { metadata, spec } = request;
  return [
    metadata.name,
    age(metadata.creationTimestamp, nowMs),
    spec.signerName,
    spec.username ?? '',
    spec.expirationSeconds === undefined ? '<none>' : humanDuration(spec.expirationSeconds * 1000),
    csrCondition(request),
  ];
}

export function leaseCells({ metadata, spec }: Lease, nowMs: number): unknown[] {
  return [metadata.name, spec.holderIdentity ?? '', age(metadata.creationTimestamp, nowMs)];
}

export function runtimeClassCells({ metadata, handler }: RuntimeClass, nowMs: number): unknown[] {
  return [metadata.name, handler, age(metadata.creationTimestamp, nowMs)];
}

export function priorityClassCells(priorityClass: PriorityClass, nowMs: number): unknown[] {
  const { metadata, value, globalDefault, preemptionPolicy } = priorityClass;
  const since = age(metadata.creationTimestamp, nowMs);
  return [metadata.name, value, globalDefault ?? false, since, preemptionPolicy ?? ''];
}

export function apiServiceCells({ metadata, spec, status }: APIService, nowMs: number): unknown[] {
  const service = spec.service === undefined ? 'Local' : `${spec.service.namespace}/${spec.service.name}`;
  const available = status?.conditions?.find((condition) => condition.type === 'Available');
  const reason = available?.status !== 'True' && available?.reason ? ` (${available.reason})` : '';
  const text = available === undefined ? 'Unknown' : `${available.status}${reason}`;
  return [metadata.name, service, text, age(metadata.creationTimestamp, nowMs)];
}

export function flowSchemaCells({ metadata, spec, status }: FlowSchema, nowMs: number): unknown[] {
  const dangling = status?.conditions?.find((condition) => condition.type === 'Dangling');
  return [
    metadata.name,
    spec.priorityLevelConfiguration.name,
    `${spec.matchingPrecedence ?? 0}`,
    orNone(spec.distinguisherMethod?.type),
    age(metadata.creationTimestamp, nowMs),
    dangling?.status ?? '?',
  ];
}

export function priorityLevelCells(level: PriorityLevelConfiguration, nowMs: number): unknown[] {
  const { metadata, spec } = level;
  const shares = (spec.limited ?? spec.exempt)?.nominalConcurrencyShares;
  const queuing = spec.limited?.limitResponse?.queuing;
  const cell = (value: number | undefined) => (value === undefined ? '<none>' : `${value}`);
  return [
    metadata.name,
    spec.type,
    cell(shares),
    cell(queuing?.queues),
    cell(queuing?.handSize),
    cell(queuing?.queueLengthLimit),
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function resourceClaimCells({ metadata, status }: ResourceClaim, nowMs: number): unknown[] {
  const words = [];
  if (metadata.deletionTimestamp !== undefined) words.push('deleted');
  if (status?.allocation === undefined) words.push('pending');
  else words.push('allocated', ...((status.reservedFor ?? []).length > 0 ? ['reserved'] : []));
  return [metadata.name, words.join(','), age(metadata.creationTimestamp, nowMs)];
}

export function resourceSliceCells({ metadata, spec }: ResourceSlice, nowMs: number): unknown[] {
  return [metadata.name, spec.nodeName ?? '', spec.driver, spec.pool.name, age(metadata.creationTimestamp, nowMs)];
}

interface AdmissionObject extends KubeObject {
  webhooks?: unknown[];
  spec?: {
    mutations?: unknown[];
    validations?: unknown[];
    paramKind?: { apiVersion?: string; kind?: string };
    policyName?: string;
    paramRef?: { namespace?: string; name?: string; selector?: object };
  };
}

export function webhookCells({ metadata, webhooks }: AdmissionObject, nowMs: number): unknown[] {
  return [metadata.name, (webhooks ?? []).length, age(metadata.creationTimestamp, nowMs)];
}

export function admissionPolicyCells({ metadata, spec }: AdmissionObject, nowMs: number): unknown[] {
  const param = spec?.paramKind;
  const text = param === undefined ? '<unset>' : `${param.apiVersion}/${param.kind}`;
  const count = (spec?.validations ?? spec?.mutations ?? []).length;
  return [metadata.name, count, text, age(metadata.creationTimestamp, nowMs)];
}

export function admissionPolicyBindingCells({ metadata, spec }: AdmissionObject, nowMs: number): unknown[] {
  const ref = spec?.paramRef;
  const name = ref?.namespace ? `${ref.namespace}/${ref.name}` : (ref?.name ?? '*');
  const text = ref === undefined ? '<unset>' : name;
  return [metadata.name, spec?.policyName ?? '', text, age(metadata.creationTimestamp, nowMs)];
}
