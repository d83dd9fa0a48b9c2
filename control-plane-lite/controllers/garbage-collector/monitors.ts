// Watches every resource that can be deleted, keeping of each object only what ownership needs.
import type { Logger } from 'pino';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { type DiscoveredResource, discoverResources } from '#kube/client/discovery.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer, InformerHandlers } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';

const rediscoverMs = 30_000;

export interface MonitorDeps {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  /** Informers that are running anyway and see all objects of their resource, by `plural.group`. */
  shared: ReadonlyMap<string, Informer<KubeObject>>;
  handlersFor(resource: Resource): InformerHandlers<KubeObject>;
}

export interface Monitors {
  /** Watches until the signal is aborted; new resources are found while it runs. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when the resources found first are all known. */
  readonly synced: Promise<void>;
  /** All resources, by `group/version/Kind` and by `group//Kind` for any version. */
  readonly byKind: ReadonlyMap<string, Resource>;
}

/** Names a resource whatever its version. */
export function monitorKey({ plural, group }: Pick<Resource, 'plural' | 'group'>): string {
  return `${plural}.${group}`;
}

/** Only what ownership needs: names, owners, finalizers and whether it is being deleted. */
function trimmed({ metadata }: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } = metadata;
  return { metadata: { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } };
}

function isCollected({ plural, verbs }: DiscoveredResource): boolean {
  return plural !== 'events' && ['list', 'watch', 'delete'].every((verb) => verbs.includes(verb));
}

/** Nothing is watched before `run`. */
export function createMonitors({ client, clock, logger, shared, handlersFor }: MonitorDeps): Monitors {
  const byKind = new Map<string, Resource>();
  const running = new Map<string, { stop: AbortController; done: Promise<void> }>();
  const synced = Promise.withResolvers<void>();

  function start(resource: DiscoveredResource): Promise<void> {
    const known = shared.get(monitorKey(resource));
    const stop = new AbortController();
    if (known !== undefined) {
      known.subscribe(handlersFor(resource));
      running.set(monitorKey(resource), { stop, done: Promise.resolve() });
      return known.synced;
    }
    const informer = createInformer<KubeObject>({ client, resource, clock, logger, transform: trimmed });
    informer.subscribe(handlersFor(resource));
    running.set(monitorKey(resource), { stop, done: informer.run(stop.signal) });
    return informer.synced;
  }

  async function discover(signal: AbortSignal): Promise<void> {
    const { resources, failures } = await discoverResources(client, { signal });
    for (const resource of resources) {
      byKind.set(`${resource.group}/${resource.version}/${resource.kind}`, resource);
      byKind.set(`${resource.group}//${resource.kind}`, resource);
    }
    const wanted = new Map(resources.filter(isCollected).map((resource) => [monitorKey(resource), resource]));
    const fresh = [...wanted].filter(([key]) => !running.has(key)).map(([, resource]) => start(resource));
    if (failures.length === 0) {
      for (const [key, { stop }] of running) {
        if (wanted.has(key)) continue;
        stop.abort();
        running.delete(key);
      }
    }
    void Promise.all(fresh).then(() => synced.resolve());
  }

  return {
    byKind,
    synced: synced.promise,
    async run(signal) {
      while (!signal.aborted) {
        try {
          await discover(signal);
          await clock.sleep(rediscoverMs, signal);
        } catch (error) {
          if (signal.aborted) break;
          logger.warn({ err: error }, 'cannot discover resources, will retry');
          await clock.sleep(1000, signal).catch(() => undefined);
        }
      }
      const all = [...running.values()];
      for (const { stop } of all) stop.abort();
      await Promise.all(all.map(({ done }) => done));
    },
  };
}
