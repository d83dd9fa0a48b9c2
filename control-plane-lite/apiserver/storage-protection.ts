// Lets claims and volumes go once nothing uses them: the counterpart of the finalizers that admission gives them.
// Behaviour: upstream's pvc-protection and pv-protection controllers.

import type { Logger } from 'pino';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes, pods } from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import type { Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import { updateObject } from '../registry/verbs/update.ts';

const claimFinalizer = 'kubernetes.io/pvc-protection';
const volumeFinalizer = 'kubernetes.io/pv-protection';

type Claim = KubeObject & PersistentVolumeClaim;
type Volume = KubeObject & PersistentVolume;

export interface StorageProtectionDeps {
  registry: Registry;
  logger: Logger;
  /** The context of the server's own writes. */
  context(): RequestContext;
}

/** Whether a pod that has a node, and may still run, mounts the claim. Pure. */
export function usesClaim(pod: Pod, claimName: string): boolean {
  const { phase } = pod.status ?? {};
  if ((pod.spec?.nodeName ?? '') === '' || phase === 'Succeeded' || phase === 'Failed') return false;
  return (pod.spec?.volumes ?? []).some(
    ({ name, persistentVolumeClaim, ephemeral }) =>
      persistentVolumeClaim?.claimName === claimName ||
      (ephemeral !== undefined && `${pod.metadata?.name}-${name}` === claimName),
  );
}

const isWaiting = ({ metadata }: KubeObject, finalizer: string): boolean =>
  metadata.deletionTimestamp !== undefined && (metadata.finalizers ?? []).includes(finalizer);

async function release(
  deps: StorageProtectionDeps,
  resource: Resource,
  object: KubeObject,
  finalizer: string,
): Promise<void> {
  const { registry } = deps;
  const { namespace = '', name } = object.metadata;
  const change = ({ metadata, ...rest }: KubeObject): KubeObject => ({
    ...rest,
    metadata: { ...metadata, finalizers: (metadata.finalizers ?? []).filter((each) => each !== finalizer) },
  });
  const request = { namespace, name, subresource: '', change, isPatch: true };
  try {
    await updateObject(registry, registry.table.get(resource), request, deps.context());
  } catch (error) {
    if (!isNotFound(error))
      deps.logger.warn({ err: error, object: `${namespace}/${name}` }, 'could not release storage');
  }
}

/** Releases every claim and volume that waits and that nothing holds. */
async function sync(deps: StorageProtectionDeps): Promise<void> {
  const { objects } = deps.registry;
  const claims = (objects.list(persistentvolumeclaims) as Claim[]).filter((claim) => isWaiting(claim, claimFinalizer));
  for (const claim of claims) {
    const { namespace = '', name } = claim.metadata;
    const isUsed = objects.list(pods, namespace).some((pod) => usesClaim(pod, name));
    if (!isUsed) await release(deps, persistentvolumeclaims, claim, claimFinalizer);
  }
  const volumes = (objects.list(persistentvolumes) as Volume[]).filter((volume) => isWaiting(volume, volumeFinalizer));
  for (const volume of volumes) {
    if (volume.status?.phase !== 'Bound') await release(deps, persistentvolumes, volume, volumeFinalizer);
  }
}

/** Follows claims, volumes and the pods that use them from now on. Returns how to stop. */
export function followStorageProtection(deps: StorageProtectionDeps): () => void {
  const { registry, logger } = deps;
  const prefixOf = (resource: Resource) => registry.table.get(resource).storagePrefix;
  const claims = registry.cache.resource(prefixOf(persistentvolumeclaims));
  const run = createCoalescedRun(
    () => sync(deps),
    (error) => logger.warn({ err: error }, 'could not look after claims and volumes'),
  );
  registry.cache.onChange(prefixOf(persistentvolumeclaims), run.soon);
  registry.cache.onChange(prefixOf(persistentvolumes), run.soon);
  registry.cache.onChange(prefixOf(pods), () => {
    if (claims.size > 0) run.soon();
  });
  run.soon();
  return run.stop;
}
