// Binds the claims of a pod that has got a node, or asks provisioners for volumes near it, and waits until that is done
// (pkg/scheduler/framework/plugins/volumebinding/binder.go).
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes } from '#kube/api/generated/resources.ts';
import {
  bindCompletedAnnotation,
  boundByControllerAnnotation,
  selectedNodeAnnotation,
} from '#kube/api/persistent-volumes.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { VolumeWork } from './plan-volumes.ts';
import type { StorageInformers, StorageView } from './storage-view.ts';

export interface VolumeBinder {
  readonly view: StorageView;
  /** Takes the volumes for the pod, before anything is written. */
  assume(work: VolumeWork): void;
  /** Does the work and waits. Throws when it cannot be done any more; `isWanted` tells whether the pod still waits. */
  bind(work: VolumeWork, node: string, isWanted: () => boolean, patienceMs: number): Promise<void>;
}

export interface VolumeBinderOptions {
  client: ApiClient;
  informers: StorageInformers;
  clock: Clock;
  signal: AbortSignal;
  /** Something about storage changed that may help waiting pods. */
  changed(): void;
}

/** Creates the binder; it listens from now on. */
export function createVolumeBinder(options: VolumeBinderOptions): VolumeBinder {
  const { client, informers, clock, signal } = options;
  const taken = new Set<string>();
  let news = Promise.withResolvers<void>();

  const tell = () => {
    news.resolve();
    news = Promise.withResolvers<void>();
    options.changed();
  };
  const volumeChanged = ({ metadata, spec }: PersistentVolume) => {
    if (spec.claimRef !== undefined) taken.delete(metadata.name);
    tell();
  };
  informers.persistentvolumes.subscribe({
    added: volumeChanged,
    updated: (_, volume) => volumeChanged(volume),
    deleted: ({ metadata }) => {
      taken.delete(metadata.name);
      tell();
    },
  });
  for (const informer of [informers.persistentvolumeclaims, informers.storageclasses, informers.csinodes]) {
    informer.subscribe({ added: tell, updated: tell, deleted: tell });
  }

  async function bindVolume(claim: PersistentVolumeClaim, volume: PersistentVolume): Promise<void> {
    const { namespace, name, uid, resourceVersion } = claim.metadata;
    if (volume.spec.claimRef?.uid === uid) return;
    const annotations = { ...volume.metadata.annotations, [boundByControllerAnnotation]: 'yes' };
    const claimRef = { kind: 'PersistentVolumeClaim', apiVersion: 'v1', namespace, name, uid, resourceVersion };
    const metadata = { ...volume.metadata, annotations };
    await client.update(persistentvolumes, { ...volume, metadata, spec: { ...volume.spec, claimRef } }, { signal });
  }

  async function selectNode({ metadata }: PersistentVolumeClaim, node: string): Promise<void> {
    const { namespace, name, resourceVersion, annotations } = metadata;
    if (annotations?.[selectedNodeAnnotation] === node) return;
    const patch = { metadata: { resourceVersion, annotations: { [selectedNodeAnnotation]: node } } };
    await client.patch(persistentvolumeclaims, { namespace, name }, 'merge', patch, { signal });
  }

  const isBound = (claim: PersistentVolumeClaim | undefined) =>
    (claim?.spec.volumeName ?? '') !== '' && claim?.metadata.annotations?.[bindCompletedAnnotation] !== undefined;

  /** Throws when the claim will not be bound for this node. */
  function check(key: string, node: string, isMade: boolean): boolean {
    const claim = informers.persistentvolumeclaims.get(key);
    if (isBound(claim)) return true;
    if (claim === undefined || claim.metadata.deletionTimestamp !== undefined) throw new Error(`claim ${key} is gone`);
    const seen = claim.metadata.annotations?.[selectedNodeAnnotation];
    if (isMade && seen !== undefined && seen !== node) throw new Error(`claim ${key} was given to another node`);
    return false;
  }

  return {
    view: {
      claims: informers.persistentvolumeclaims,
      volumes: informers.persistentvolumes,
      classes: informers.storageclasses,
      csiNodes: informers.csinodes,
      taken,
    },
    assume({ bind }) {
      for (const { volume } of bind) taken.add(volume.metadata.name);
    },
    async bind(work, node, isWanted, patienceMs) {
      try {
        for (const { claim, volume } of work.bind) await bindVolume(claim, volume);
        for (const claim of work.provision) await selectNode(claim, node);
        const keys = [...work.bind.map(({ claim }) => claim), ...work.provision].map((claim) => objectKey(claim));
        const made = new Set(work.provision.map((claim) => objectKey(claim)));
        const giveUpMs = clock.monotonicMs() + patienceMs;
        while (!keys.every((key) => check(key, node, made.has(key)))) {
          if (!isWanted()) throw new Error('the pod does not wait any more');
          if (clock.monotonicMs() > giveUpMs) throw new Error(`claims were not bound in time: ${keys.join(', ')}`);
          const next = news.promise;
          const stop = new AbortController();
          const timed = clock.sleep(5000, AbortSignal.any([signal, stop.signal])).catch(() => undefined);
          await Promise.race([next, timed]);
          stop.abort();
          signal.throwIfAborted();
        }
      } catch (error) {
        for (const { volume } of work.bind) taken.delete(volume.metadata.name);
        throw error;
      }
    },
  };
}
