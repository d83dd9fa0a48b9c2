// Empties namespaces that are being deleted, pods before all else, then lets them go.
import type { Namespace } from '#kube/api/generated/core-v1.ts';
import { namespaces } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { type DiscoveredResource, discoverResources } from '#kube/client/discovery.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';
import { sameJson } from '../same-json.ts';
import { type DeletionProgress, deletionConditions } from './deletion-conditions.ts';

const finalizer = 'kubernetes';
const recheckMs = { first: 200, most: 5_000 };

/** Objects still there after their deletion was asked for. */
interface Left {
  resource: DiscoveredResource;
  objects: KubeObject[];
}

/** Looks again with growing pauses while content remains. */
export function createNamespaceController(context: ControllerContext): Controller {
  const { informers, client, clock } = context;
  const queue = createControllerQueue(context);
  const passes = new Map<string, number>();
  const look = ({ metadata }: Namespace) => {
    if (metadata.deletionTimestamp !== undefined) queue.add(metadata.name);
  };
  informers.namespaces.subscribe({
    added: look,
    updated: (_, namespace) => look(namespace),
    deleted: ({ metadata }) => passes.delete(metadata.name),
  });

  async function empty(namespace: string, resource: DiscoveredResource, signal: AbortSignal): Promise<Left> {
    const before = await client.list(resource, { namespace, signal });
    if (before.items.length === 0) return { resource, objects: [] };
    if (resource.verbs.includes('deletecollection')) {
      await client.deleteCollection(resource, { namespace, signal }, { propagationPolicy: 'Background' });
    } else {
      for (const { metadata } of before.items) {
        try {
          await client.delete(resource, { namespace, name: metadata.name }, { propagationPolicy: 'Background' });
        } catch (error) {
          if (!isNotFound(error)) throw error;
        }
      }
    }
    const after = await client.list(resource, { namespace, signal });
    return { resource, objects: after.items };
  }

  /** What pods use (policies, accounts, claims) stays until the last of them is gone. */
  async function emptyInOrder(
    namespace: string,
    deletable: readonly DiscoveredResource[],
    signal: AbortSignal,
  ): Promise<PromiseSettledResult<Left>[]> {
    const arePods = ({ group, plural }: DiscoveredResource) => group === '' && plural === 'pods';
    const emptyEach = (which: readonly DiscoveredResource[]) =>
      Promise.allSettled(which.map(async (resource) => empty(namespace, resource, signal)));
    const first = await emptyEach(deletable.filter(arePods));
    const isWaiting = first.some((result) => result.status === 'rejected' || result.value.objects.length > 0);
    return isWaiting ? first : [...first, ...(await emptyEach(deletable.filter((each) => !arePods(each))))];
  }

  async function emptyAll(namespace: string, signal: AbortSignal): Promise<DeletionProgress> {
    const { resources, failures } = await discoverResources(client, { signal });
    const deletable = resources.filter(
      ({ namespaced, verbs }) => namespaced && verbs.includes('list') && verbs.includes('delete'),
    );
    const results = await emptyInOrder(namespace, deletable, signal);
    const remaining = new Map<string, number>();
    const finalizers = new Map<string, number>();
    const contentErrors: string[] = [];
    for (const result of results) {
      if (result.status === 'rejected') {
        contentErrors.push((result.reason as Error).message);
        continue;
      }
      const { resource, objects } = result.value;
      if (objects.length > 0) remaining.set(`${resource.plural}.${resource.group}`, objects.length);
      for (const name of objects.flatMap(({ metadata }) => metadata.finalizers ?? [])) {
        finalizers.set(name, (finalizers.get(name) ?? 0) + 1);
      }
    }
    const failed = failures.map(({ groupVersion, error }) => `${groupVersion}: ${(error as Error).message}`);
    return {
      discoveryError: failed.length === 0 ? undefined : failed.join(', '),
      contentErrors,
      remaining,
      finalizers,
    };
  }

  async function writeConditions(namespace: Namespace, progress: DeletionProgress): Promise<void> {
    const conditions = deletionConditions(namespace.status?.conditions, progress, clock.now());
    if (sameJson(conditions, namespace.status?.conditions ?? [])) return;
    const status = { ...namespace.status, conditions };
    await client.updateSubresource(namespaces, { ...namespace, status }, 'status');
  }

  async function sync(name: string, signal: AbortSignal): Promise<void | { requeueAfterMs: number }> {
    const namespace = informers.namespaces.get(name);
    if (namespace?.metadata.deletionTimestamp === undefined) return;
    if (!(namespace.spec?.finalizers ?? []).includes(finalizer)) return;
    const progress = await emptyAll(name, signal);
    const { discoveryError, contentErrors, remaining } = progress;
    try {
      if (discoveryError === undefined && contentErrors.length === 0 && remaining.size === 0) {
        const finalizers = (namespace.spec?.finalizers ?? []).filter((entry) => entry !== finalizer);
        await client.updateSubresource(
          namespaces,
          { ...namespace, spec: { ...namespace.spec, finalizers } },
          'finalize',
        );
        return;
      }
      await writeConditions(namespace, progress);
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isConflict(error)) throw error;
    }
    const pass = passes.get(name) ?? 0;
    passes.set(name, pass + 1);
    return { requeueAfterMs: Math.min(recheckMs.most, recheckMs.first * 2 ** Math.min(pass, 10)) };
  }

  return queueController(context.name, queue, sync, { concurrency: 4 });
}
