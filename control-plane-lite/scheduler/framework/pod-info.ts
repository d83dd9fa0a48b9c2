// What scheduling needs to know of a pod, computed once.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { type ResourceAmounts, reservedRequests } from '#kube/api/pod-resources.ts';
import { claimNamesOf } from '../volumes/pod-claims.ts';
import { type OwnedTerm, termsOf } from './pod-terms.ts';

/** A port of the node that the pod takes. */
export interface HostPort {
  ip: string;
  protocol: string;
  port: number;
}

export interface PodInfo {
  pod: Pod;
  /** `namespace/name`. */
  key: string;
  uid: string;
  /** The profile that it asks for. */
  schedulerName: string;
  requests: ResourceAmounts;
  /** Requests for ranking: containers that ask for nothing count as 100m and 200 MiB. */
  scoredCpu: number;
  scoredMemory: number;
  hostPorts: HostPort[];
  priority: number;
  /** Pods of one group are spread; empty for pods that belong to none. */
  group: string;
  /** Pods with equal class fit the same nodes and rank them alike. */
  schedulingClass: string;
  /** The only nodes it may go to, where its affinity names them: daemon pods. */
  onlyNodes: string[] | undefined;
  /** What its affinity says about other pods. */
  terms: readonly OwnedTerm[];
  /** Its claims, as `namespace/name`. */
  claims: readonly string[];
  /** Images of its containers as nodes name them, and how many containers there are. */
  images: readonly string[];
  imageContainers: number;
  /** What else decides about the pod alone: its labels, by which terms select, and the claims that were made for it. */
  ownFacts: string;
}

const defaultCpu = 100;
const defaultMemory = 200 * 1024 * 1024;

function hostPortsOf(pod: Pod): HostPort[] {
  return (pod.spec?.containers ?? []).flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort = 0, hostIP = '', protocol = 'TCP' }) =>
      hostPort > 0 ? [{ ip: hostIP === '' ? '0.0.0.0' : hostIP, protocol, port: hostPort }] : [],
    ),
  );
}

function scored(pod: Pod, requests: ResourceAmounts, resource: 'cpu' | 'memory', fallback: number): number {
  const silent = (pod.spec?.containers ?? []).filter(({ resources }) => resources?.requests?.[resource] === undefined);
  const podLevel = pod.spec?.resources?.requests?.[resource] !== undefined;
  return (requests.get(resource) ?? 0) + (podLevel ? 0 : silent.length * fallback);
}

/** The nodes that every required term names; undefined when one of them names none. */
function namedNodes(pod: Pod): string[] | undefined {
  const required = pod.spec?.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  if (required === undefined) return undefined;
  const names: string[] = [];
  for (const { matchFields } of required.nodeSelectorTerms) {
    const field = matchFields?.find(({ key, operator }) => key === 'metadata.name' && operator === 'In');
    if (field?.values === undefined) return undefined;
    names.push(...field.values);
  }
  return names;
}

/** An image's name as nodes report it: with a tag. */
function normalisedImage(image: string): string {
  return image.lastIndexOf(':') <= image.lastIndexOf('/') && !image.includes('@') ? `${image}:latest` : image;
}

/** Computes all facts; called once for each version of a pod's spec. */
export function createPodInfo(pod: Pod): PodInfo {
  const { metadata, spec } = pod;
  const requests = reservedRequests(pod);
  const hostPorts = hostPortsOf(pod);
  const owner = controllerOf(pod);
  // Constraints of its own take the place of the default ones.
  const isSpread = (spec?.topologySpreadConstraints ?? []).length > 0;
  const group = owner === undefined || isSpread ? '' : `${metadata.namespace}/${owner.uid}`;
  const containers = [...(spec?.initContainers ?? []), ...(spec?.containers ?? [])];
  const images = containers.map(({ image = '' }) => normalisedImage(image));
  const affinity = spec?.affinity;
  const scoredCpu = scored(pod, requests, 'cpu', defaultCpu);
  const scoredMemory = scored(pod, requests, 'memory', defaultMemory);
  const schedulingClass = JSON.stringify([
    [...requests],
    scoredCpu,
    scoredMemory,
    spec?.nodeSelector,
    affinity?.nodeAffinity,
    spec?.tolerations,
    hostPorts,
    group,
    images,
    spec?.nodeName,
  ]);
  const info = {
    pod,
    key: `${metadata.namespace}/${metadata.name}`,
    uid: metadata.uid ?? '',
    schedulerName: spec?.schedulerName ?? 'default-scheduler',
    requests,
    scoredCpu,
    scoredMemory,
    hostPorts,
    priority: spec?.priority ?? 0,
    group,
    schedulingClass,
    onlyNodes: namedNodes(pod),
    terms: [],
    claims: claimNamesOf(pod).map(({ name }) => `${metadata.namespace}/${name}`),
    images,
    imageContainers: containers.length,
    ownFacts: JSON.stringify([metadata.namespace, metadata.labels, pod.status?.resourceClaimStatuses]),
  };
  return affinity === undefined ? info : { ...info, terms: termsOf(pod) };
}
