// Whose end takes a StatefulSet's claims along: nobody's, the set's, or that of a pod that is one too many. Pure.
// Source: KEP-1847, Auto delete PVCs created by StatefulSet.
import type { StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import { firstOrdinal, isOrdinalWanted, ordinalOf, podName, wantedClaimOwner } from './stateful-pods.ts';

/** Whether a reference was made by this policy: of the set, or of a pod of this ordinal. */
function isOurs({ apiVersion, kind, name, uid }: OwnerReference, set: StatefulSet, ordinal: number): boolean {
  if (kind === 'StatefulSet' && apiVersion.startsWith('apps/')) return uid === set.metadata.uid;
  return kind === 'Pod' && apiVersion === 'v1' && name === podName(set, ordinal);
}

/** The owners that a claim is to have; undefined when they are right. Owners that others set stay. */
export function planClaimOwners(
  set: StatefulSet,
  claim: PersistentVolumeClaim,
  ordinal: number,
  pod: Pod | undefined,
): OwnerReference[] | undefined {
  const present = claim.metadata.ownerReferences ?? [];
  const wanted = wantedClaimOwner(set, ordinal, pod);
  const ours = present.filter((reference) => isOurs(reference, set, ordinal));
  const isRight = wanted === undefined ? ours.length === 0 : ours.length === 1 && ours[0]?.uid === wanted.uid;
  // Without the pod nobody knows yet who is to take the claim along; it is on its way out.
  const isLeaving = pod === undefined && !isOrdinalWanted(set, ordinal);
  if (isRight || isLeaving) return undefined;
  const others = present.filter((reference) => !ours.includes(reference));
  return wanted === undefined ? others : [...others, wanted];
}

/** Whether the claim is going, or goes with a pod of this ordinal that is not there any more: no other may use it. */
export function isClaimGoing(
  set: StatefulSet,
  claim: PersistentVolumeClaim,
  ordinal: number,
  pod: Pod | undefined,
): boolean {
  if (claim.metadata.deletionTimestamp !== undefined) return true;
  return (claim.metadata.ownerReferences ?? []).some(
    ({ kind, name, uid }) => kind === 'Pod' && name === podName(set, ordinal) && uid !== pod?.metadata.uid,
  );
}

/** Ordinals whose claims have to be looked at: those that are wanted, and those of pods that are there. */
export function claimedOrdinals(set: StatefulSet, pods: readonly Pod[]): Set<number> {
  const first = firstOrdinal(set);
  const ordinals = new Set(Array.from({ length: set.spec.replicas ?? 1 }, (_, index) => first + index));
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal !== undefined) ordinals.add(ordinal);
  }
  return ordinals;
}
