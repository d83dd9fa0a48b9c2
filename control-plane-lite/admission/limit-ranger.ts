// LimitRanger: default requests and limits of containers, and the bounds that a namespace sets.
import type {
  Container,
  LimitRangeItem,
  PersistentVolumeClaim,
  ResourceRequirements,
} from '#kube/api/generated/core-v1.ts';
import { limitranges } from '#kube/api/generated/resources.ts';
import { podLimits, podRequests, type ResourceAmounts } from '#kube/api/pod-resources.ts';
import { compareQuantities, parseQuantity, quantityToFloat } from '#kube/api/quantity.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { forbidden } from '../registry/status-errors.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';
import { createdPod, type PodObject } from './pod-request.ts';
import { formatAmount } from './quota/usage.ts';

type Amounts = Record<string, string>;

const annotation = 'kubernetes.io/limit-ranger';

function itemsOf({ objects, namespace }: AdmissionRequest, type: string): LimitRangeItem[] {
  return objects
    .list(limitranges, namespace)
    .flatMap(({ spec }) => (spec?.limits ?? []).filter((item) => item.type === type));
}

/** Fills what is missing of `amounts`. Returns the names that were filled in. */
function fill(amounts: Amounts | undefined, defaults: Amounts): { amounts: Amounts | undefined; filled: string[] } {
  const filled = Object.keys(defaults)
    .filter((name) => amounts?.[name] === undefined)
    .sort();
  if (filled.length === 0) return { amounts, filled };
  return { amounts: { ...Object.fromEntries(filled.map((name) => [name, defaults[name] ?? ''])), ...amounts }, filled };
}

function applyDefaults(pod: PodObject, items: readonly LimitRangeItem[]): void {
  const limits: Amounts = Object.assign({}, ...items.map((item) => item.default ?? {}));
  const requests: Amounts = Object.assign({}, ...items.map((item) => item.defaultRequest ?? item.default ?? {}));
  const notes: string[] = [];
  const complete = (container: Container, prefix: string) => {
    const resources: ResourceRequirements = { ...container.resources };
    const withLimits = fill(resources.limits, limits);
    const withRequests = fill(resources.requests, requests);
    if (withLimits.amounts !== undefined) resources.limits = withLimits.amounts;
    if (withRequests.amounts !== undefined) resources.requests = withRequests.amounts;
    container.resources = resources;
    if (withRequests.filled.length > 0)
      notes.push(`${withRequests.filled.join(', ')} request for ${prefix} ${container.name}`);
    if (withLimits.filled.length > 0)
      notes.push(`${withLimits.filled.join(', ')} limit for ${prefix} ${container.name}`);
  };
  for (const container of pod.spec.containers ?? []) complete(container, 'container');
  for (const container of pod.spec.initContainers ?? []) complete(container, 'init container');
  if (notes.length === 0) return;
  pod.metadata.annotations = {
    ...pod.metadata.annotations,
    [annotation]: `LimitRanger plugin set: ${notes.join('; ')}`,
  };
}

const isLess = (a: string, b: string): boolean => compareQuantities(parseQuantity(a), parseQuantity(b)) < 0;

/** What is wrong with requests and limits by one item. */
function violations(item: LimitRangeItem, requests: Amounts, limits: Amounts): string[] {
  const { type } = item;
  const found: string[] = [];
  for (const [name, min] of Object.entries(item.min ?? {})) {
    const [request, limit] = [requests[name], limits[name]];
    if (request === undefined) found.push(`minimum ${name} usage per ${type} is ${min}.  No request is specified`);
    else if (isLess(request, min)) found.push(`minimum ${name} usage per ${type} is ${min}, but request is ${request}`);
    else if (limit !== undefined && isLess(limit, min))
      found.push(`minimum ${name} usage per ${type} is ${min}, but limit is ${limit}`);
  }
  for (const [name, max] of Object.entries(item.max ?? {})) {
    const [request, limit] = [requests[name], limits[name]];
    if (limit === undefined) found.push(`maximum ${name} usage per ${type} is ${max}.  No limit is specified`);
    else if (isLess(max, limit)) found.push(`maximum ${name} usage per ${type} is ${max}, but limit is ${limit}`);
    else if (request !== undefined && isLess(max, request))
      found.push(`maximum ${name} usage per ${type} is ${max}, but request is ${request}`);
  }
  for (const [name, ratio] of Object.entries(item.maxLimitRequestRatio ?? {})) {
    const [request, limit] = [requests[name], limits[name]];
    if (request === undefined || limit === undefined) {
      found.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but no ${request === undefined ? 'request' : 'limit'} is specified or ${request === undefined ? 'request' : 'limit'} is 0`,
      );
      continue;
    }
    const actual = quantityToFloat(parseQuantity(limit)) / quantityToFloat(parseQuantity(request));
    if (actual > quantityToFloat(parseQuantity(ratio))) {
      found.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but provided ratio is ${actual.toFixed(6)}`,
      );
    }
  }
  return found;
}

const written = (amounts: ResourceAmounts): Amounts =>
  Object.fromEntries([...amounts].map(([name, amount]) => [name, formatAmount(name, amount)]));

function podViolations(request: AdmissionRequest, pod: PodObject): string[] {
  const containers = [...(pod.spec.containers ?? []), ...(pod.spec.initContainers ?? [])];
  const ofContainers = itemsOf(request, 'Container').flatMap((item) =>
    containers.flatMap(({ resources }) => violations(item, resources?.requests ?? {}, resources?.limits ?? {})),
  );
  const [requests, limits] = [written(podRequests(pod)), written(podLimits(pod))];
  return [...ofContainers, ...itemsOf(request, 'Pod').flatMap((item) => violations(item, requests, limits))];
}

/** A pod whose resources change while it runs keeps to the limits of new ones. */
function resizedPod({ served, verb, subresource, object }: AdmissionRequest): PodObject | undefined {
  const resized = served.stored.kind === 'Pod' && verb === 'update' && subresource === 'resize';
  return resized ? (object as PodObject) : undefined;
}

export const limitRanger: AdmissionPlugin = {
  name: 'LimitRanger',
  mutate: (request) => {
    const pod = createdPod(request);
    if (pod !== undefined) applyDefaults(pod, itemsOf(request, 'Container'));
  },
  validate: (request) => {
    const pod = createdPod(request) ?? resizedPod(request);
    const { served, object, name, verb, subresource } = request;
    let found: string[] = [];
    if (pod !== undefined) found = podViolations(request, pod);
    if (served.stored.kind === 'PersistentVolumeClaim' && verb !== 'delete' && subresource === '') {
      const requests = (object as KubeObject & PersistentVolumeClaim).spec?.resources?.requests ?? {};
      found = itemsOf(request, 'PersistentVolumeClaim').flatMap((item) => violations(item, requests, requests));
    }
    if (found.length === 0) return undefined;
    throw forbidden(served.resource, name, found.length === 1 ? (found[0] ?? '') : `[${found.join(', ')}]`);
  },
};
