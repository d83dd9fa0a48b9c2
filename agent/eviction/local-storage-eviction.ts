// Ends pods that fill the node's disk beyond their limits: measured every ten seconds, only where there are limits.
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { EndReason } from '../sync/pod-work.ts';
import { measureDirectory } from '../volume/measure-usage.ts';
import type { VolumeManager } from '../volume/volume-manager.ts';
import { hasLocalStorageLimit, type LocalStorageUse, planLocalStorageEviction } from './plan-local-storage-eviction.ts';

const periodMs = 10_000;
/** Nobody who breaks a hard limit is given time. */
const graceSeconds = 1;

export interface LocalStorageEvictionOptions {
  volumes: Pick<VolumeManager, 'mounted'>;
  runtime: Pick<RuntimeService, 'listContainerStats'>;
  /** Pods that run. */
  pods(): readonly Pod[];
  runtimeOf(podUid: string): PodRuntime | undefined;
  /** The directory of a pod's logs. */
  logsOf(pod: Pod): string;
  end(podUid: string, reason: EndReason): void;
  record: RecordPodEvent;
  clock: Clock;
  logger: Logger;
}

async function bytesIn(path: string): Promise<number> {
  return measureDirectory(path).then(
    ({ usedBytes }) => usedBytes,
    () => 0,
  );
}

/** Measures one pod. `written` is what containers wrote, by their ids. */
async function measurePod(
  pod: Pod,
  written: ReadonlyMap<string, number>,
  options: LocalStorageEvictionOptions,
): Promise<LocalStorageUse> {
  const uid = pod.metadata.uid ?? '';
  const volumes = new Map<string, number>();
  for (const { request, measure } of options.volumes.mounted(uid)) {
    if (request.bound !== undefined || request.volume.hostPath !== undefined) continue;
    const usage = await measure();
    if (usage !== undefined) volumes.set(request.volume.name, usage.usedBytes);
  }
  const logs = options.logsOf(pod);
  const containers = new Map<string, number>();
  for (const { id, name } of options.runtimeOf(uid)?.containers ?? []) {
    const known = containers.get(name) ?? (await bytesIn(`${logs}/${name}`));
    containers.set(name, known + (written.get(id) ?? 0));
  }
  return { volumes, containers };
}

/** Looks at every pod once. */
export async function evictForLocalStorage(options: LocalStorageEvictionOptions, signal: AbortSignal): Promise<void> {
  const limited = options.pods().filter(hasLocalStorageLimit);
  if (limited.length === 0) return;
  const stats = await options.runtime.listContainerStats(signal);
  const written = new Map(
    stats.map(({ attributes, writableLayer }) => [attributes?.id ?? '', Number(writableLayer?.usedBytes?.value ?? 0)]),
  );
  for (const pod of limited) {
    signal.throwIfAborted();
    const message = planLocalStorageEviction(pod, await measurePod(pod, written, options));
    if (message === undefined) continue;
    options.logger.info({ pod: pod.metadata.name, message }, 'evicting a pod');
    options.record(pod, 'Warning', 'Evicted', message);
    const reason = { phase: 'Failed' as const, reason: 'Evicted', message, disruption: message, graceSeconds };
    options.end(pod.metadata.uid ?? '', reason);
  }
}

/** Runs until the signal is aborted. */
export async function runLocalStorageEviction(
  options: LocalStorageEvictionOptions,
  signal: AbortSignal,
): Promise<void> {
  const { clock, logger } = options;
  while (!signal.aborted) {
    await clock.sleep(periodMs, signal).catch(() => undefined);
    if (signal.aborted) return;
    await evictForLocalStorage(options, signal).catch((error: unknown) => {
      if (!signal.aborted) logger.warn({ err: error }, 'cannot measure what pods use of the disk');
    });
  }
}
