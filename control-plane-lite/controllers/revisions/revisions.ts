// ControllerRevisions: the history of a workload's pod template, by which it is rolled out, inspected and undone.
// Deciding is pure (`planRevision`); `ensureRevision` writes.
import type { ControllerRevision } from '#kube/api/generated/apps-v1.ts';
import type { PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import { controllerrevisions } from '#kube/api/generated/resources.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import type { Draft, KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import { canonicalJson, shortHash } from '../pod-template.ts';
import { sameJson } from '../same-json.ts';

/** Which revision of its owner a pod or revision object is of. */
export const revisionHashLabel = 'controller-revision-hash';

/** A workload with a template whose history is kept. */
export interface RevisionOwner extends KubeObject {
  spec: { template: PodTemplateSpec; revisionHistoryLimit?: number | undefined };
  status?: { collisionCount?: number | undefined } | undefined;
}

export type RevisionPlan =
  | { action: 'use'; revision: ControllerRevision }
  /** An old template came back: its revision becomes the newest. */
  | { action: 'renumber'; revision: ControllerRevision; number: number }
  | { action: 'create'; draft: Draft<ControllerRevision> };

/** What a revision stores: the patch that brings the template back. */
export function revisionData(template: PodTemplateSpec): Record<string, unknown> {
  return { spec: { template: { ...template, $patch: 'replace' } } };
}

/** Oldest first. */
export function sortedRevisions(revisions: readonly ControllerRevision[]): ControllerRevision[] {
  return [...revisions].sort((a, b) => a.revision - b.revision || (a.metadata.name < b.metadata.name ? -1 : 1));
}

/** The hash of the template, as pods of a DaemonSet carry it. */
export function hashOf(revision: Pick<ControllerRevision, 'metadata'>): string {
  return revision.metadata.labels?.[revisionHashLabel] ?? '';
}

/** Finds or designs the revision of the owner's template among its revisions. */
export function planRevision(
  resource: Resource,
  owner: RevisionOwner,
  revisions: readonly ControllerRevision[],
): RevisionPlan {
  const sorted = sortedRevisions(revisions);
  const newest = sorted.at(-1);
  const data = revisionData(owner.spec.template);
  const text = canonicalJson(data);
  const equal = sorted.findLast((revision) => canonicalJson(revision.data) === text);
  if (equal !== undefined && equal === newest) return { action: 'use', revision: equal };
  const number = (newest?.revision ?? 0) + 1;
  if (equal !== undefined) return { action: 'renumber', revision: equal, number };
  const hash = shortHash(data, owner.status?.collisionCount);
  return {
    action: 'create',
    draft: {
      metadata: {
        name: `${owner.metadata.name}-${hash}`,
        namespace: owner.metadata.namespace,
        labels: { ...owner.spec.template.metadata?.labels, [revisionHashLabel]: hash },
        ...(owner.metadata.annotations === undefined ? {} : { annotations: owner.metadata.annotations }),
        ownerReferences: [controllerReference(resource, owner)],
      },
      data,
      revision: number,
    },
  };
}

/** A different template has the hash of this one: the owner's collision count has to go up. */
export class RevisionCollision extends Error {
  readonly code = 'REVISION_COLLISION';

  constructor(name: string) {
    super(`another revision is already called ${name}`);
    this.name = 'RevisionCollision';
  }
}

/** Makes the revision of the owner's template the newest, and returns it. Throws RevisionCollision. */
export async function ensureRevision(
  client: ApiClient,
  resource: Resource,
  owner: RevisionOwner,
  revisions: readonly ControllerRevision[],
): Promise<ControllerRevision> {
  const plan = planRevision(resource, owner, revisions);
  switch (plan.action) {
    case 'use':
      return plan.revision;
    case 'renumber':
      return client.update(controllerrevisions, { ...plan.revision, revision: plan.number });
    case 'create': {
      const { namespace } = owner.metadata;
      const { name = '' } = plan.draft.metadata;
      try {
        return await client.create(controllerrevisions, namespace, plan.draft);
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
        const existing = await client.get(controllerrevisions, { namespace, name });
        if (sameJson(existing.data, plan.draft.data)) return existing;
        throw new RevisionCollision(name);
      }
    }
    default:
      return plan satisfies never;
  }
}

/** Revisions beyond the history limit that no pod has, oldest first. `live` are hashes or names that pods carry. */
export function planRevisionCleanup(
  owner: RevisionOwner,
  revisions: readonly ControllerRevision[],
  live: ReadonlySet<string>,
): ControllerRevision[] {
  const unused = sortedRevisions(revisions).filter(
    (revision) => !live.has(hashOf(revision)) && !live.has(revision.metadata.name),
  );
  return unused.slice(0, Math.max(0, unused.length - (owner.spec.revisionHistoryLimit ?? 10)));
}

/** Deletes revisions; ones already gone are no matter. */
export async function deleteRevisions(client: ApiClient, revisions: readonly ControllerRevision[]): Promise<void> {
  for (const { metadata } of revisions) {
    try {
      await client.delete(controllerrevisions, { namespace: metadata.namespace, name: metadata.name });
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
}
