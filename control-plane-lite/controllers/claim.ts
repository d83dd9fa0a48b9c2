// Adoption and release: which dependents belong to a controller by selector and owner reference, and the patches
// that make the two agree. Deciding is pure; `applyClaims` writes.
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { type LabelRequirements, requirementsOf, selectorMatches } from '#kube/api/label-selector.ts';
import { controllerOf, controllerReference } from '#kube/api/owner-references.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isInvalid, isNotFound } from '#kube/errors/status-error.ts';

export interface Claims<T> {
  owned: T[];
  adopt: T[];
  release: T[];
}

/** Sorts candidates into owned, to adopt and to release; anything else is none of this owner's business. */
export function planClaims<T extends KubeObject>(
  owner: KubeObject,
  selector: LabelSelector | undefined,
  candidates: readonly T[],
): Claims<T> {
  const requirements: LabelRequirements | undefined = requirementsOf(selector);
  const claims: Claims<T> = { owned: [], adopt: [], release: [] };
  const ownerIsGoing = owner.metadata.deletionTimestamp !== undefined;
  for (const candidate of candidates) {
    const controller = controllerOf(candidate);
    const matches = requirements !== undefined && selectorMatches(requirements, candidate.metadata.labels);
    if (controller !== undefined) {
      if (controller.uid !== owner.metadata.uid) continue;
      if (matches) claims.owned.push(candidate);
      else if (!ownerIsGoing) claims.release.push(candidate);
    } else if (matches && !ownerIsGoing && candidate.metadata.deletionTimestamp === undefined) {
      claims.adopt.push(candidate);
    }
  }
  return claims;
}

/**
 * Writes the claims and returns what the owner owns now. Before the first adoption the owner is read again from
 * the server, so that a deleted and recreated owner never takes over its namesake's dependents.
 */
export async function applyClaims<T extends KubeObject, O extends KubeObject>(
  client: ApiClient,
  owner: { resource: Resource<O>; object: O },
  dependents: Resource<T>,
  claims: Claims<T>,
): Promise<T[]> {
  const { object } = owner;
  const uid = object.metadata.uid ?? '';
  const owned = [...claims.owned];
  const keyOf = ({ metadata }: KubeObject) => ({ namespace: metadata.namespace, name: metadata.name });
  if (claims.adopt.length > 0) {
    const fresh = await client.get(owner.resource, keyOf(object));
    if (fresh.metadata.uid === uid && fresh.metadata.deletionTimestamp === undefined) {
      const ownerReferences = [controllerReference(owner.resource, object)];
      for (const dependent of claims.adopt) {
        try {
          const patch = { metadata: { ownerReferences, uid: dependent.metadata.uid } };
          owned.push(await client.patch(dependents, keyOf(dependent), 'strategic', patch));
        } catch (error) {
          if (!isNotFound(error) && !isInvalid(error)) throw error;
        }
      }
    }
  }
  for (const dependent of claims.release) {
    try {
      const patch = { metadata: { uid: dependent.metadata.uid, ownerReferences: [{ $patch: 'delete', uid }] } };
      await client.patch(dependents, keyOf(dependent), 'strategic', patch);
    } catch (error) {
      // Gone, or replaced by another object of the same name: nothing to release.
      if (!isNotFound(error) && !isInvalid(error)) throw error;
    }
  }
  return owned;
}
