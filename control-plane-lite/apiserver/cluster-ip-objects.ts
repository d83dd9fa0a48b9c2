// Keeps an IPAddress object for every cluster IP: made with its service, gone with it, made anew when somebody
// deletes it. What services have is the truth. (Kubernetes: KEP-1880, the IP allocator and its repair loop)
import type { Logger } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { IPAddress, ParentReference } from '#kube/api/generated/networking-v1.ts';
import { ipaddresses, services } from '#kube/api/generated/resources.ts';
import type { Resource } from '#kube/api/resource.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { addressesOf } from '../registry/allocation/service-allocator.ts';
import type { ServiceOwner } from '../registry/allocation/service-claims.ts';
import { addressLabels, isOfAllocator } from '../registry/allocation/service-ranges.ts';
import { parseEntry } from '../registry/object-reader.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { Strategy } from '../registry/strategy.ts';
import { createObject } from '../registry/verbs/create.ts';
import { deleteObject } from '../registry/verbs/delete.ts';

const retryMs = 1_000;
/** A server may still be writing the service of a younger object. */
const graceMs = 60_000;
/** Objects in the making at once when a server starts on many services. */
const startConcurrency = 16;

type StrategyOf = (resource: Resource) => Strategy;

export interface ClusterIpObjects {
  /** Writes of services wait for the objects of their addresses. */
  withStrategies(strategyOf: StrategyOf): StrategyOf;
  /** Takes an address in the store; resolves with whether it is the service's. Asked where others write to it too. */
  claim(address: string, owner: ServiceOwner): Promise<boolean>;
  /** Gives back what no service was written with. */
  unclaim(address: string, owner: ServiceOwner): void;
  /** Begins, with what is stored already. `context` is that of the server's own writes. */
  follow(registry: Registry, context: () => RequestContext, signal: AbortSignal): void;
}

const referenceTo = ({ namespace = '', name }: { namespace?: string | undefined; name: string }): ParentReference => ({
  group: '',
  resource: 'services',
  namespace,
  name,
});

function refersTo({ spec }: IPAddress, owner: ParentReference): boolean {
  const { group = '', resource, namespace = '', name } = spec.parentRef;
  return group === '' && resource === owner.resource && namespace === owner.namespace && name === owner.name;
}

const addressesOfService = ({ spec }: Service): string[] => (spec === undefined ? [] : addressesOf(spec));

const addressObject = (address: string, owner: ParentReference) => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'IPAddress',
  metadata: { name: address, labels: addressLabels(address) },
  spec: { parentRef: { ...owner } },
});

export function createClusterIpObjects({ logger, clock }: { logger: Logger; clock: Clock }): ClusterIpObjects {
  const owners = new Map<string, ParentReference>();
  /** Who had an address and gave it up, as far as this server knows. */
  const gaveUp = new Map<string, ParentReference>();
  /** Work on an address; `isDue`: something has changed since it began. */
  const working = new Map<string, { done: Promise<void>; isDue: boolean }>();
  let sync: ((address: string) => Promise<void>) | undefined;
  let create: ((address: string, owner: ParentReference) => Promise<boolean>) | undefined;

  /** Resolves after a first try, whatever came of it. */
  function enqueue(address: string): Promise<void> {
    const running = working.get(address);
    if (running !== undefined) {
      running.isDue = true;
      return running.done;
    }
    const work = { done: Promise.resolve(), isDue: true };
    work.done = Promise.resolve().then(async () => {
      while (work.isDue) {
        work.isDue = false;
        await sync?.(address);
      }
      working.delete(address);
    });
    working.set(address, work);
    return work.done;
  }

  function createSync(registry: Registry, context: () => RequestContext, signal: AbortSignal) {
    const served = registry.table.get(ipaddresses);
    const correct = async (address: string): Promise<void> => {
      const owner = owners.get(address);
      const existing = registry.objects.get(ipaddresses, '', address);
      if (existing !== undefined) {
        if (owner !== undefined && refersTo(existing, owner)) return;
        if (!isOfAllocator(existing)) {
          if (owner !== undefined) logger.warn({ address, owner }, 'the address of a service is noted as another’s');
          return;
        }
        // Another server may have taken the address for a service that it is about to write.
        const had = gaveUp.get(address);
        const isKnown = owner !== undefined || (had !== undefined && refersTo(existing, had));
        const ageMs = clock.now() - Date.parse(existing.metadata.creationTimestamp ?? '');
        if (registry.backend.isShared && !isKnown && ageMs < graceMs) {
          clock.after(graceMs - ageMs, () => {
            if (!signal.aborted) void enqueue(address);
          });
          return;
        }
        const preconditions = { uid: existing.metadata.uid ?? '' };
        await deleteObject(registry, served, '', address, { preconditions }, context());
      }
      gaveUp.delete(address);
      if (owner !== undefined) await createObject(registry, served, '', addressObject(address, owner), context());
    };
    create = async (address, owner) => {
      try {
        await createObject(registry, served, '', addressObject(address, owner), context());
        return true;
      } catch (error) {
        if (!isAlreadyExists(error)) throw error;
        // The service had it before, and what follows its changes has not given it back yet.
        const existing = registry.objects.get(ipaddresses, '', address);
        return existing !== undefined && refersTo(existing, owner);
      }
    };
    return async (address: string): Promise<void> => {
      if (signal.aborted) return;
      try {
        await correct(address);
      } catch (error) {
        if (signal.aborted) return;
        if (!isNotFound(error) && !isAlreadyExists(error))
          logger.warn({ err: error, address }, 'could not note whose an address is');
        clock.after(retryMs, () => {
          if (!signal.aborted) void enqueue(address);
        });
      }
    };
  }

  const own = (service: Service): void => {
    for (const address of addressesOfService(service)) owners.set(address, referenceTo(service.metadata));
  };

  const settle = async (service: Service): Promise<void> => {
    if (sync !== undefined) await Promise.all(addressesOfService(service).map((address) => working.get(address)?.done));
  };

  return {
    // Before the server follows anything it writes no service but its own, whose address has one owner.
    claim: async (address, owner) => (create === undefined ? true : await create(address, referenceTo(owner))),
    unclaim: (address, owner) => {
      if (owners.has(address)) return;
      gaveUp.set(address, referenceTo(owner));
      void enqueue(address);
    },
    withStrategies: (strategyOf) => {
      let before: Strategy | undefined;
      let settled: Strategy = {};
      return (resource) => {
        const strategy = strategyOf(resource);
        if (resource.group !== services.group || resource.kind !== services.kind) return strategy;
        if (strategy !== before) settled = { ...strategy, settle: async (object) => settle(object as Service) };
        before = strategy;
        return settled;
      };
    },
    follow: (registry, context, signal) => {
      const { cache, table, objects } = registry;
      for (const service of objects.list(services)) own(service);
      sync = createSync(registry, context, signal);
      cache.onChange(table.get(services).storagePrefix, ({ type, entry, previous }) => {
        const was = previous === undefined ? undefined : (parseEntry(previous) as Service);
        const is = type === 'put' ? (parseEntry(entry) as Service) : undefined;
        const now = new Set(is === undefined ? [] : addressesOfService(is));
        const gone = (was === undefined ? [] : addressesOfService(was)).filter((address) => !now.has(address));
        const isSame = was !== undefined && gone.length === 0 && addressesOfService(was).length === now.size;
        if (isSame) return;
        for (const address of gone) {
          const owner = owners.get(address);
          if (owner !== undefined) gaveUp.set(address, owner);
          owners.delete(address);
        }
        if (is !== undefined) own(is);
        for (const address of [...gone, ...now]) void enqueue(address);
      });
      cache.onChange(table.get(ipaddresses).storagePrefix, ({ type, entry }) => {
        const address = entry.key.slice(entry.key.lastIndexOf('/') + 1);
        if (type === 'delete' && owners.has(address) && !working.has(address)) void enqueue(address);
      });
      const left = [
        ...new Set([
          ...owners.keys(),
          ...objects.list(ipaddresses).flatMap((each) => (isOfAllocator(each) ? [each.metadata.name] : [])),
        ]),
      ];
      const work = async (): Promise<void> => {
        for (let address = left.pop(); address !== undefined && !signal.aborted; address = left.pop()) {
          await enqueue(address);
        }
      };
      for (let worker = 0; worker < startConcurrency; worker += 1) void work();
    },
  };
}
