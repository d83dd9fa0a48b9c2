// Which resource claims pods need made from templates, and what becomes of claims whose pods are done. Pure.
// Behaviour: upstream's pkg/controller/resourceclaim.
import type { Pod, PodResourceClaimStatus } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim, ResourceClaimTemplate } from '#kube/api/generated/resource-v1.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { isPodTerminal, isPodTerminating } from '#kube/api/pod-state.ts';
import type { Draft } from '#kube/api/resource.ts';

/** Says for which of the pod's claims an object was made. */
export const podClaimAnnotation = 'resource.kubernetes.io/pod-claim-name';
/** Keeps a claim that is allocated. */
export const allocationFinalizer = 'resource.kubernetes.io/delete-protection';

/** Whether the pod uses its claims no longer. */
export function isPodDone(pod: Pod): boolean {
  return isPodTerminal(pod) || (isPodTerminating(pod) && (pod.spec?.nodeName ?? '') === '');
}

/** The claim of a pod as its template has it. */
export function draftClaim(pod: Pod, podClaimName: string, template: ResourceClaimTemplate): Draft<ResourceClaim> {
  const { metadata, spec } = template.spec;
  return {
    metadata: {
      generateName: `${pod.metadata.name}-${podClaimName}-`,
      namespace: pod.metadata.namespace,
      ...(metadata?.labels === undefined ? {} : { labels: metadata.labels }),
      annotations: { ...metadata?.annotations, [podClaimAnnotation]: podClaimName },
      ownerReferences: [
        {
          apiVersion: 'v1',
          kind: 'Pod',
          name: pod.metadata.name,
          uid: pod.metadata.uid ?? '',
          controller: true,
          blockOwnerDeletion: true,
        },
      ],
    },
    spec,
  };
}

export interface PodClaimPlan {
  /** Templates to make claims from. */
  create: { podClaimName: string; template: string }[];
  /** What the pod's status is to say; undefined when it says so. */
  statuses: PodResourceClaimStatus[] | undefined;
  /** Claims that are allocated and that this pod, which has a node already, is not known to use. */
  reserve: ResourceClaim[];
}

/** `claims` are those of the pod's namespace. */
export function planPodClaims(pod: Pod, claims: readonly ResourceClaim[]): PodClaimPlan {
  const plan: PodClaimPlan = { create: [], statuses: undefined, reserve: [] };
  if (isPodDone(pod) || isPodTerminating(pod)) return plan;
  const known = pod.status?.resourceClaimStatuses ?? [];
  const statuses: PodResourceClaimStatus[] = [];
  let isTold = true;
  const use = (claim: ResourceClaim | undefined) => {
    const reserved = claim?.status?.reservedFor?.some(({ uid }) => uid === pod.metadata.uid) ?? false;
    const isPlaced = (pod.spec?.nodeName ?? '') !== '';
    if (claim?.status?.allocation !== undefined && isPlaced && !reserved) plan.reserve.push(claim);
  };
  for (const { name, resourceClaimName, resourceClaimTemplateName } of pod.spec?.resourceClaims ?? []) {
    if (resourceClaimTemplateName === undefined) {
      use(claims.find(({ metadata }) => metadata.name === resourceClaimName));
      continue;
    }
    const told = known.find((status) => status.name === name);
    const made = claims.find(
      (claim) =>
        controllerOf(claim)?.uid === pod.metadata.uid && claim.metadata.annotations?.[podClaimAnnotation] === name,
    );
    if (made === undefined && told === undefined) {
      plan.create.push({ podClaimName: name, template: resourceClaimTemplateName });
      continue;
    }
    const claimName = told?.resourceClaimName ?? made?.metadata.name;
    if (told === undefined) isTold = false;
    statuses.push({ name, ...(claimName === undefined ? {} : { resourceClaimName: claimName }) });
    use(made);
  }
  if (!isTold) plan.statuses = statuses;
  return plan;
}

/** What a claim is to become; undefined when it is as it should be. */
export type ClaimPlan = { type: 'delete' } | { type: 'update'; claim: ResourceClaim } | undefined;

/** `podOf` finds a pod by name: one of another UID does not count. */
export function planClaim(claim: ResourceClaim, podOf: (name: string) => Pod | undefined): ClaimPlan {
  const uses = (name: string, uid: string): boolean => {
    const pod = podOf(name);
    return pod !== undefined && pod.metadata.uid === uid && !isPodDone(pod);
  };
  const { reservedFor = [], allocation, ...rest } = claim.status ?? {};
  const left = reservedFor.filter(({ apiGroup = '', resource, name, uid }) =>
    // Of other consumers nobody here knows when they are done.
    apiGroup !== '' || resource !== 'pods' ? true : uses(name, uid),
  );
  const owner = controllerOf(claim);
  const isOfPod = owner?.kind === 'Pod' && owner.apiVersion === 'v1';
  const isOver = isOfPod && !uses(owner.name, owner.uid);
  const isLeaving = claim.metadata.deletionTimestamp !== undefined;
  // A claim that a pod owns, or that is going, gives its devices back with its last user.
  const frees =
    left.length === 0 && allocation !== undefined && (isOver || isLeaving || (isOfPod && reservedFor.length > 0));
  const isFree = frees || allocation === undefined;
  const finalizers = claim.metadata.finalizers ?? [];
  const dropsFinalizer = isFree && finalizers.includes(allocationFinalizer);
  if (left.length !== reservedFor.length || frees || dropsFinalizer) {
    const status = {
      ...rest,
      ...(left.length === 0 ? {} : { reservedFor: left }),
      ...(frees || allocation === undefined ? {} : { allocation }),
    };
    const kept = dropsFinalizer ? finalizers.filter((name) => name !== allocationFinalizer) : finalizers;
    return { type: 'update', claim: { ...claim, metadata: { ...claim.metadata, finalizers: kept }, status } };
  }
  return isOver && left.length === 0 && !isLeaving ? { type: 'delete' } : undefined;
}
