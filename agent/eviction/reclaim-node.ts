// What is freed before any pod has to go: dead containers and images that nobody uses, where they are on the disk that
// is short (pkg/kubelet/eviction/helpers.go: buildSignalToNodeReclaimFuncs).
import type { Logger } from 'pino';
import type { DiskLayout } from './rank-pods.ts';
import { resourceOfSignal, type Signal } from './thresholds.ts';

export interface Reclaim {
  containers(signal: AbortSignal): Promise<unknown>;
  images(signal: AbortSignal): Promise<unknown>;
}

/** What can be freed for the signal. */
export function reclaimable(signal: Signal, layout: DiskLayout): (keyof Reclaim)[] {
  const resource = resourceOfSignal[signal];
  if (resource === 'memory' || resource === 'pids') return [];
  switch (layout) {
    case 'one':
      return ['containers', 'images'];
    case 'imagefs':
      return signal.startsWith('nodefs') ? [] : ['containers', 'images'];
    case 'split':
      return signal.startsWith('imagefs') ? ['images'] : ['containers'];
  }
}

/** Frees it. Returns what was tried; a failure is told and does not keep the rest from being freed. */
export async function reclaimNode(
  reclaim: Reclaim,
  signal: Signal,
  layout: DiskLayout,
  logger: Logger,
  stop: AbortSignal,
): Promise<string[]> {
  const tried = reclaimable(signal, layout);
  for (const what of tried) {
    await reclaim[what](stop).catch((error: unknown) => {
      stop.throwIfAborted();
      logger.warn({ err: error, what }, 'cannot free what nobody uses');
    });
  }
  return tried;
}
