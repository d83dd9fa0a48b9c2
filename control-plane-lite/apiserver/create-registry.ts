// Puts the registry together: store, cache, tables, strategies, admission.
import type { Logger } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { services } from '#kube/api/generated/resources.ts';
import { AddressPool } from '../registry/allocation/address-pool.ts';
import { followServiceRanges } from '../registry/allocation/follow-service-ranges.ts';
import { PortPool } from '../registry/allocation/port-pool.ts';
import { createServiceAllocator } from '../registry/allocation/service-allocator.ts';
import type { ServiceClaims } from '../registry/allocation/service-claims.ts';
import { createFieldManagement } from '../registry/managed-fields/field-management.ts';
import { createObjectReader, parseEntry } from '../registry/object-reader.ts';
import type { KindRules, Registry } from '../registry/registry.ts';
import { loadResourceTable } from '../registry/resource-table.ts';
import { loadSchema } from '../registry/schema.ts';
import { attributesReaderFor } from '../registry/selectable-fields.ts';
import { createStrategyTable } from '../registry/strategies/strategy-table.ts';
import type { Backend, StoredEntry } from '../storage/backend.ts';
import type { AttributesReader } from '../storage/cache/attributes.ts';
import { followBackend, WatchCache } from '../storage/cache/watch-cache.ts';

export interface RegistryOptions {
  backend: Backend;
  rules: KindRules;
  /** One for each address family, the default one first. */
  serviceCidrs: readonly [string, ...string[]];
  nodePorts: { first: number; last: number };
  /** Asked where other servers write to the store. */
  claims: ServiceClaims;
  logger: Logger;
}

export interface OpenRegistry {
  /** Everything but admission, whose plugins need the rest. */
  parts: Omit<Registry, 'admission'>;
  /** Of the default family. */
  addresses: AddressPool;
  /** Stops following the store. */
  close(): void;
}

/** Loads the store's state into memory and builds the registry on it. */
export async function createRegistry(options: RegistryOptions): Promise<OpenRegistry> {
  const { backend } = options;
  const table = loadResourceTable();
  const schema = loadSchema();
  const readers = new Map<string, AttributesReader>();
  for (const { storagePrefix, stored } of table.all) {
    if (storagePrefix !== '' && !readers.has(storagePrefix)) readers.set(storagePrefix, attributesReaderFor(stored));
  }
  const cache = new WatchCache(
    backend,
    [...readers].map(([prefix, read]) => ({ prefix, read })),
  );
  const objects = createObjectReader(cache, table);
  const [first, ...more] = options.serviceCidrs;
  const primary = new AddressPool(first);
  const addresses = [primary, ...more.map((cidr) => new AddressPool(cidr))] as const;
  const ports = new PortPool(options.nodePorts.first, options.nodePorts.last);
  const claims = backend.isShared ? options.claims : undefined;
  const allocator = createServiceAllocator({ addresses, ports, claims });
  const servicePrefix = table.get(services).storagePrefix;
  const serviceOf = (entry: StoredEntry) => parseEntry(entry) as unknown as Service;
  const ownerOf = ({ metadata: { namespace = '', name, uid = '' } }: Service) => ({ namespace, name, uid });
  cache.onChange(servicePrefix, ({ type, entry, previous }) => {
    const service = serviceOf(entry);
    const before = previous === undefined ? undefined : serviceOf(previous).spec;
    allocator.observe(before, type === 'put' ? service.spec : undefined, ownerOf(service));
  });
  const close = await followBackend(backend, cache);
  for (const entry of cache.resource(servicePrefix).walk()) {
    const service = serviceOf(entry);
    allocator.observe(undefined, service.spec, ownerOf(service));
  }
  followServiceRanges(addresses, {
    objects,
    onChange: (resource, listener) => cache.onChange(table.get(resource).storagePrefix, listener),
  });
  const parts: Omit<Registry, 'admission'> = {
    backend,
    cache,
    table,
    schema,
    rules: options.rules,
    strategyOf: createStrategyTable(allocator),
    objects,
    parse: parseEntry,
    fields: createFieldManagement(schema),
    readAttributes: ({ storagePrefix }, object) =>
      cache.resource(storagePrefix).read(object as unknown as Record<string, unknown>),
  };
  return { parts, addresses: primary, close };
}
