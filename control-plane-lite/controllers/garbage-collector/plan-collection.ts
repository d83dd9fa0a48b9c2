// What becomes of an object, given the state of its owners. Pure.
// Behaviour: upstream's pkg/controller/garbagecollector (attemptToDeleteItem).
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import { foregroundFinalizer, type GraphNode, orphanFinalizer } from './object-graph.ts';

/** One owner: there, gone, or being deleted in the foreground. */
export type OwnerState = 'solid' | 'absent' | 'waiting';

export type Collection =
  | { action: 'keep' }
  /** Some owners are left: the references to the others go. */
  | { action: 'dropOwners'; uids: string[] }
  /** A dependent waits for this object to go, perhaps in a circle: its owners must not wait for it any more. */
  | { action: 'unblockOwners' }
  | { action: 'delete'; propagationPolicy: 'Background' | 'Foreground' | 'Orphan' }
  /** All blocking dependents of a foreground deletion are gone. */
  | { action: 'removeFinalizer'; finalizer: string }
  /** Dependents of a foreground deletion have to go first. */
  | { action: 'judgeDependents'; uids: string[] };

/** For an object that is being deleted in the foreground. */
export function planForeground(node: GraphNode, dependents: readonly GraphNode[]): Collection {
  const blocking = dependents.filter(({ owners }) =>
    owners.some(({ uid, blockOwnerDeletion }) => uid === node.uid && blockOwnerDeletion === true),
  );
  if (blocking.length === 0) return { action: 'removeFinalizer', finalizer: foregroundFinalizer };
  return {
    action: 'judgeDependents',
    uids: blocking.filter(({ deletingDependents }) => !deletingDependents).map(({ uid }) => uid),
  };
}

/** For an object with owners, as the server has it now. `stateOf` was asked for each reference. */
export function planCollection(
  object: {
    owners: readonly OwnerReference[];
    finalizers: readonly string[];
    hasDependents: boolean;
    /** Some dependent is itself being deleted in the foreground. */
    hasWaitingDependents?: boolean;
  },
  stateOf: (reference: OwnerReference) => OwnerState,
): Collection {
  const { owners, finalizers, hasDependents, hasWaitingDependents = false } = object;
  if (owners.length === 0) return { action: 'keep' };
  const states = owners.map((reference) => ({ reference, state: stateOf(reference) }));
  const gone = states.filter(({ state }) => state !== 'solid').map(({ reference }) => reference.uid);
  if (gone.length < owners.length) {
    return gone.length === 0 ? { action: 'keep' } : { action: 'dropOwners', uids: gone };
  }
  if (hasDependents && states.some(({ state }) => state === 'waiting')) {
    const isBlocking = owners.some(({ blockOwnerDeletion }) => blockOwnerDeletion === true);
    if (hasWaitingDependents && isBlocking) return { action: 'unblockOwners' };
    return { action: 'delete', propagationPolicy: 'Foreground' };
  }
  if (finalizers.includes(orphanFinalizer)) return { action: 'delete', propagationPolicy: 'Orphan' };
  if (finalizers.includes(foregroundFinalizer)) return { action: 'delete', propagationPolicy: 'Foreground' };
  return { action: 'delete', propagationPolicy: 'Background' };
}
