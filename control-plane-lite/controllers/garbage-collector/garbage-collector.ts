// Deletes objects whose owners are gone, in the background or foreground, and frees the dependents of orphaning owners.
import type { OwnerReference } from '#kube/api/generated/meta-v1.ts';
import { groupOf } from '#kube/api/owner-references.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import type { Informer } from '#kube/informer/types.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { createMonitors, monitorKey } from './monitors.ts';
import { createObjectGraph, type GraphNode, type GraphWork, orphanFinalizer } from './object-graph.ts';
import { type OwnerState, planCollection, planForeground } from './plan-collection.ts';

export interface CollectorSources {
  /** Reads and watches everything. */
  sharedClient: ApiClient;
  shared: readonly { resource: Resource; informer: Informer<KubeObject> }[];
}

/** Works once everything that can be owned has been listed, so that no owner is missed. */
export function createGarbageCollector(context: ControllerContext, sources: CollectorSources): Controller {
  const { client, clock, logger } = context;
  const judging = createControllerQueue(context);
  const orphaning = createControllerQueue({ ...context, queueObserver: undefined });
  const enqueue = ({ judge, orphan }: GraphWork) => {
    for (const uid of judge) judging.add(uid);
    for (const uid of orphan) orphaning.add(uid);
  };
  const monitors = createMonitors({
    client: sources.sharedClient,
    clock,
    logger,
    shared: new Map(sources.shared.map(({ resource, informer }) => [monitorKey(resource), informer])),
    handlersFor: (resource) => ({
      added: ({ metadata }) => enqueue(graph.observe(resource, metadata)),
      updated: (previous, { metadata }) => {
        if (ownershipOf(previous) !== ownershipOf({ metadata })) enqueue(graph.observe(resource, metadata));
      },
      deleted: ({ metadata }) => enqueue(graph.remove(metadata.uid ?? '')),
    }),
  });
  const resourceOf = ({ apiVersion, kind }: OwnerReference): Resource | undefined => {
    const group = groupOf(apiVersion);
    const version = group === '' ? apiVersion : apiVersion.slice(group.length + 1);
    return monitors.byKind.get(`${group}/${version}/${kind}`) ?? monitors.byKind.get(`${group}//${kind}`);
  };
  const graph = createObjectGraph(resourceOf);

  /** The object as the server has it; undefined when it is gone or another one has its name. */
  async function live(
    resource: Resource,
    namespace: string,
    name: string,
    uid: string,
  ): Promise<KubeObject | undefined> {
    try {
      const object = await client.get(resource, { namespace, name });
      return object.metadata.uid === uid ? object : undefined;
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  }

  async function ownerState(reference: OwnerReference, namespace: string): Promise<OwnerState> {
    const known = graph.get(reference.uid);
    if (known?.observed === true) {
      if (known.namespace !== '' && known.namespace !== namespace) return 'absent';
      return known.deletingDependents ? 'waiting' : 'solid';
    }
    const resource = resourceOf(reference);
    if (resource === undefined)
      throw new Error(`owner ${reference.kind} ${reference.name} is of a kind that is not served`);
    if (resource.namespaced && namespace === '') return 'absent';
    const owner = await live(resource, resource.namespaced ? namespace : '', reference.name, reference.uid);
    return owner === undefined ? 'absent' : 'solid';
  }

  async function patchMetadata(resource: Resource, object: KubeObject, change: object): Promise<void> {
    const { namespace, name, resourceVersion, uid } = object.metadata;
    await client.patch(resource, { namespace, name }, 'merge', { metadata: { uid, resourceVersion, ...change } });
  }

  async function removeFinalizer(resource: Resource, object: KubeObject, finalizer: string): Promise<void> {
    const finalizers = object.metadata.finalizers ?? [];
    if (!finalizers.includes(finalizer)) return;
    await patchMetadata(resource, object, { finalizers: finalizers.filter((entry) => entry !== finalizer) });
  }

  async function dropOwners(resource: Resource, object: KubeObject, uids: readonly string[]): Promise<void> {
    const ownerReferences = (object.metadata.ownerReferences ?? []).filter(({ uid }) => !uids.includes(uid));
    await patchMetadata(resource, object, { ownerReferences: ownerReferences.length === 0 ? null : ownerReferences });
  }

  async function collect(node: GraphNode, resource: Resource): Promise<void> {
    const object = await live(resource, node.namespace, node.name, node.uid);
    if (object === undefined) {
      enqueue(graph.remove(node.uid));
      return;
    }
    if (!node.observed) return;
    if (node.deletingDependents) {
      const dependents = [...node.dependents].flatMap((uid) => graph.get(uid) ?? []);
      const plan = planForeground(node, dependents);
      if (plan.action === 'removeFinalizer') await removeFinalizer(resource, object, plan.finalizer);
      if (plan.action === 'judgeDependents') enqueue({ judge: plan.uids, orphan: [] });
      return;
    }
    const owners = object.metadata.ownerReferences ?? [];
    const states = new Map<string, OwnerState>();
    for (const reference of owners) states.set(reference.uid, await ownerState(reference, node.namespace));
    const facts = {
      owners,
      finalizers: object.metadata.finalizers ?? [],
      hasDependents: node.dependents.size > 0,
      hasWaitingDependents: [...node.dependents].some((uid) => graph.get(uid)?.deletingDependents === true),
    };
    const plan = planCollection(facts, ({ uid }) => states.get(uid) ?? 'solid');
    if (plan.action === 'dropOwners') await dropOwners(resource, object, plan.uids);
    if (plan.action === 'unblockOwners') {
      const ownerReferences = owners.map((reference) => ({ ...reference, blockOwnerDeletion: false }));
      await patchMetadata(resource, object, { ownerReferences });
      enqueue({ judge: [node.uid], orphan: [] });
    }
    if (plan.action !== 'delete') return;
    const { uid, resourceVersion } = object.metadata;
    // The object may have got a new owner since: then its revision is another one.
    const preconditions = { uid, resourceVersion };
    const key = { namespace: node.namespace, name: node.name };
    await client.delete(resource, key, { preconditions, propagationPolicy: plan.propagationPolicy });
  }

  /** Races with other writers are settled by looking again. */
  async function retried(work: () => Promise<void>): Promise<void | { requeueAfterMs: number }> {
    try {
      await work();
    } catch (error) {
      if (isNotFound(error)) return;
      if (isConflict(error)) return { requeueAfterMs: 20 };
      throw error;
    }
  }

  async function judge(uid: string): Promise<void | { requeueAfterMs: number }> {
    const node = graph.get(uid);
    if (node === undefined || (node.deleting && !node.deletingDependents)) return;
    const { resource } = node;
    if (resource === undefined) return;
    return retried(async () => collect(node, resource));
  }

  async function orphan(uid: string): Promise<void | { requeueAfterMs: number }> {
    const owner = graph.get(uid);
    if (owner?.resource === undefined) return;
    const { resource } = owner;
    return retried(async () => {
      for (const dependentUid of owner.dependents) {
        const dependent = graph.get(dependentUid);
        if (dependent?.resource === undefined) continue;
        const object = await live(dependent.resource, dependent.namespace, dependent.name, dependentUid);
        if (object !== undefined) await dropOwners(dependent.resource, object, [uid]);
      }
      const object = await live(resource, owner.namespace, owner.name, uid);
      if (object !== undefined) await removeFinalizer(resource, object, orphanFinalizer);
    });
  }

  async function work(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve(), { once: true });
    await Promise.race([monitors.synced, aborted.promise]);
    if (signal.aborted) return;
    await Promise.all([
      judging.run(judge, { concurrency: 32, signal }),
      orphaning.run(orphan, { concurrency: 5, signal }),
    ]);
  }

  return { name: context.name, run: async (signal) => runGroup([monitors, { run: work }], signal) };
}

/** What of an object the graph depends on. */
function ownershipOf({ metadata }: KubeObject): string {
  const { ownerReferences, finalizers, deletionTimestamp } = metadata;
  return JSON.stringify([ownerReferences, finalizers, deletionTimestamp === undefined]);
}
