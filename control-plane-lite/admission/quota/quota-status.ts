// Keeps the status of quotas: what is allowed and what is used, written shortly after something changed.
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { ResourceQuota } from '#kube/api/generated/core-v1.ts';
import { resourcequotas } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import type { Clock, Timer } from '#kube/process/clock.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { storedUsage } from './quota-admission.ts';
import { formatAmount } from './usage.ts';

const settleMs = 300;

export interface QuotaStatusDeps {
  registry: Registry;
  clock: Clock;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
}

async function writeStatus({ registry, context }: QuotaStatusDeps, quota: KubeObject & ResourceQuota): Promise<void> {
  const { namespace = '', name } = quota.metadata;
  const used = Object.fromEntries(
    [...storedUsage(quota, registry.objects, registry.table)].map(([each, amount]) => [
      each,
      formatAmount(each, amount),
    ]),
  );
  const status = { hard: { ...quota.spec?.hard }, used };
  if (isDeepStrictEqual(quota.status, status)) return;
  const change = (current: KubeObject): KubeObject => ({ ...current, status }) as KubeObject;
  const request = { namespace, name, subresource: 'status', change, isPatch: true };
  await updateObject(registry, registry.table.get(resourcequotas), request, context());
}

/** Follows the store. Returns how to stop. */
export function followQuotas(deps: QuotaStatusDeps): () => void {
  const { registry, clock, logger } = deps;
  const dirty = new Set<string>();
  let timer: Timer | undefined;
  const flush = () => {
    timer = undefined;
    const namespaces = [...dirty];
    dirty.clear();
    for (const namespace of namespaces) {
      for (const quota of registry.objects.list(resourcequotas, namespace)) {
        writeStatus(deps, quota).catch((error: unknown) => {
          if (!isNotFound(error)) logger.warn({ err: error, namespace }, 'could not write the status of a quota');
        });
      }
    }
  };
  const quotaCache = registry.cache.resource(registry.table.get(resourcequotas).storagePrefix);
  for (const { storagePrefix, resource } of registry.table.all) {
    if (storagePrefix === '' || !resource.namespaced) continue;
    registry.cache.onChange(storagePrefix, ({ entry }) => {
      const isQuota = resource.plural === 'resourcequotas';
      if (quotaCache.size === 0 && !isQuota) return;
      dirty.add(entry.key.slice(storagePrefix.length).split('/')[0] ?? '');
      timer ??= clock.after(settleMs, flush);
    });
  }
  return () => timer?.cancel();
}
