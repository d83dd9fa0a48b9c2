// ResourceQuota: a namespace gets no more than its quotas allow. Usage is what is stored plus what is being stored.
import { isDeepStrictEqual } from 'node:util';
import type { Pod, ResourceQuota } from '#kube/api/generated/core-v1.ts';
import { resourcequotas } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { ResourceTable } from '../../registry/resource-table.ts';
import { forbidden } from '../../registry/status-errors.ts';
import type { WatchCache } from '../../storage/cache/watch-cache.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../plugin.ts';
import { isInScope } from './scopes.ts';
import { countedPlural, formatAmount, hardAmount, type Usage, usageOf } from './usage.ts';

type Quota = KubeObject & ResourceQuota;

const podOf = (plural: string, object: KubeObject): Pod | undefined =>
  plural === 'pods' ? (object as Pod) : undefined;

/** What the stored objects of the quota's namespace use of it. */
export function storedUsage(quota: Quota, objects: ObjectReader, table: ResourceTable): Usage {
  const names = Object.keys(quota.spec?.hard ?? {});
  const used: Usage = new Map(names.map((name) => [name, 0]));
  const resources = new Map(names.map((name) => [JSON.stringify(countedPlural(name)), countedPlural(name)]));
  for (const { group, plural } of resources.values()) {
    const served = table.all.find(({ resource }) => resource.group === group && resource.plural === plural);
    if (served === undefined || !served.resource.namespaced || served.storagePrefix === '') continue;
    for (const object of objects.list(served.resource, quota.metadata.namespace)) {
      if (!isInScope(quota.spec, podOf(plural, object))) continue;
      for (const [name, amount] of usageOf(served.resource, object)) {
        const sum = used.get(name);
        if (sum !== undefined) used.set(name, sum + amount);
      }
    }
  }
  return used;
}

const list = (names: readonly string[], amounts: Usage): string =>
  names.map((name) => `${name}=${formatAmount(name, amounts.get(name) ?? 0)}`).join(',');

/** Compute resources that a quota bounds and a container does not state. */
function unstated(quota: Quota, pod: Pod): string[] {
  const wanted = Object.keys(quota.spec?.hard ?? {}).filter((name) =>
    /^((requests|limits)\.)?(cpu|memory)$/.test(name),
  );
  const missing = wanted.flatMap((name) => {
    const [kind, resource] = name.startsWith('limits.')
      ? (['limits', name.slice(7)] as const)
      : (['requests', name.replace('requests.', '')] as const);
    const without = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])]
      .filter(({ resources }) => resources?.[kind]?.[resource] === undefined)
      .map((container) => container.name);
    return without.length === 0 ? [] : [`${name} for: ${without.join(',')}`];
  });
  return missing.sort();
}

export interface QuotaDeps {
  objects: ObjectReader;
  cache: WatchCache;
  table: ResourceTable;
}

/** Reserves in memory what is being stored until the store shows it. */
export function createQuotaAdmission({ objects, cache, table }: QuotaDeps): AdmissionPlugin {
  /** Object path -> what it will use, by namespace. */
  const reserved = new Map<string, Map<string, { usage: Usage; pod: Pod | undefined }>>();
  const release = (namespace: string, key: string) => {
    const within = reserved.get(namespace);
    within?.delete(key);
    if (within?.size === 0) reserved.delete(namespace);
  };
  for (const { storagePrefix, resource } of table.all) {
    if (storagePrefix === '' || !resource.namespaced) continue;
    cache.onChange(storagePrefix, ({ entry }) => {
      if (reserved.size === 0) return;
      const [namespace = ''] = entry.key.slice(storagePrefix.length).split('/');
      release(namespace, entry.key);
    });
  }

  const check = (quota: Quota, request: AdmissionRequest, added: Usage): void => {
    const { namespace, name, served } = request;
    const hard = quota.spec?.hard ?? {};
    const names = Object.keys(hard)
      .filter((each) => (added.get(each) ?? 0) > 0)
      .sort();
    if (names.length === 0) return;
    const used = storedUsage(quota, objects, table);
    for (const { usage, pod } of reserved.get(namespace)?.values() ?? []) {
      if (!isInScope(quota.spec, pod)) continue;
      for (const [each, amount] of usage) used.set(each, (used.get(each) ?? 0) + amount);
    }
    const exceeded = names.filter(
      (each) => (used.get(each) ?? 0) + (added.get(each) ?? 0) > hardAmount(each, hard[each] ?? '0'),
    );
    if (exceeded.length === 0) return;
    const limited = exceeded.map((each) => `${each}=${hard[each]}`).join(',');
    const why = `exceeded quota: ${quota.metadata.name}, requested: ${list(exceeded, added)}, used: ${list(exceeded, used)}, limited: ${limited}`;
    throw forbidden(served.resource, name, why);
  };

  return {
    name: 'ResourceQuota',
    validate: (request) => {
      const { verb, subresource, namespace, served, object, previous } = request;
      const counts = subresource === '' || (subresource === 'resize' && verb === 'update');
      if ((verb !== 'create' && verb !== 'update') || !counts || namespace === '' || object === undefined)
        return undefined;
      const quotas = objects.list(resourcequotas, namespace);
      if (quotas.length === 0) return undefined;
      const usage = usageOf(served.stored, object);
      const before = previous === undefined ? new Map<string, number>() : usageOf(served.stored, previous);
      if (isDeepStrictEqual(usage, before)) return undefined;
      const added: Usage = new Map([...usage].map(([name, amount]) => [name, amount - (before.get(name) ?? 0)]));
      const pod = podOf(served.stored.plural, object);
      for (const quota of quotas) {
        if (!isInScope(quota.spec, pod)) continue;
        const missing = pod === undefined || verb !== 'create' ? [] : unstated(quota, pod);
        if (missing.length > 0) {
          throw forbidden(
            served.resource,
            request.name,
            `failed quota: ${quota.metadata.name}: must specify ${missing.join('; ')}`,
          );
        }
        check(quota, request, added);
      }
      // Custom objects are counted once they are stored: their changes are not followed here.
      if (request.context.dryRun || served.isCustom === true) return undefined;
      const key = `${served.storagePrefix}${namespace}/${object.metadata.name}`;
      const within = reserved.get(namespace) ?? new Map();
      within.set(key, { usage: added, pod });
      reserved.set(namespace, within);
      return () => release(namespace, key);
    },
  };
}
