// What has to be put right now and then: directories, cgroups and logs of pods that are no more, the shares of the
// quality classes, the runtime's view of the node's addresses (pkg/kubelet/kubelet_pods.go: HandlePodCleanups).
import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { CgroupManager } from '../cgroup/cgroup-manager.ts';
import type { RuntimeCache } from '../runtime-cache/runtime-cache.ts';
import type { VolumeManager } from '../volume/volume-manager.ts';
import type { PodWorkers } from './pod-workers.ts';

const periodMs = 10_000;
/** A pod's logs outlive its containers for a while, so that collectors can finish. */
const logsPeriods = 6;

export interface HousekeepingOptions {
  /** Nothing is removed before the node knows which pods it has. */
  ready: Promise<void>;
  volumes: VolumeManager;
  cgroups: CgroupManager;
  cache: RuntimeCache;
  workers: PodWorkers;
  clock: Clock;
  logger: Logger;
  podLogsDir: string;
  legacyLogsDir: string | undefined;
  /** The addresses of this node's pods, once they are assigned. */
  podCidr(): string | undefined;
  setPodCidr(cidr: string, signal: AbortSignal): Promise<void>;
  /** Told of the directories of pods that are no more, round by round. */
  observeOrphans?(found: { removed: number; failed: number }): void;
}

/** The uid at the end of the name of a pod's log directory. */
export function podUidOfLogs(name: string): string | undefined {
  const [namespace, pod, uid, ...rest] = name.split('_');
  return namespace !== undefined && pod !== undefined && rest.length === 0 ? uid : undefined;
}

/** Links to logs that are gone. */
async function removeDeadLinks(directory: string | undefined): Promise<void> {
  if (directory === undefined) return;
  for (const name of await readdir(directory).catch(() => [])) {
    const path = join(directory, name);
    const isAlive = await stat(path).then(
      () => true,
      () => false,
    );
    if (!isAlive) await rm(path, { force: true });
  }
}

async function removeOrphans(options: HousekeepingOptions, withLogs: boolean): Promise<void> {
  const { volumes, cgroups, cache, workers, logger } = options;
  const isKnown = (uid: string) => workers.get(uid) !== undefined || cache.get(uid) !== undefined;
  const attempt = async (what: string, uid: string, remove: () => Promise<void>) => {
    return remove().then(
      () => true,
      (error: unknown) => {
        logger.warn({ err: error, uid }, `cannot remove the ${what} of a pod`);
        return false;
      },
    );
  };
  const found = { removed: 0, failed: 0 };
  for (const uid of await volumes.listPods()) {
    if (isKnown(uid)) continue;
    if (await attempt('directory', uid, () => volumes.removeDirectory(uid))) found.removed += 1;
    else found.failed += 1;
  }
  options.observeOrphans?.(found);
  for (const uid of await cgroups.listPods()) {
    if (!isKnown(uid)) await attempt('cgroup', uid, () => cgroups.removePod(uid));
  }
  if (!withLogs) return;
  await removeDeadLinks(options.legacyLogsDir);
  for (const name of await readdir(options.podLogsDir).catch(() => [])) {
    const uid = podUidOfLogs(name);
    if (uid === undefined || isKnown(uid)) continue;
    await attempt('logs', uid, () => rm(join(options.podLogsDir, name), { recursive: true, force: true }));
  }
}

/** Runs until the signal is aborted. */
export async function runHousekeeping(options: HousekeepingOptions, signal: AbortSignal): Promise<void> {
  const { clock, logger, cgroups, workers } = options;
  let toldCidr: string | undefined;
  const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
  await Promise.race([options.ready, aborted]);
  for (let round = 0; !signal.aborted; round += 1) {
    try {
      await removeOrphans(options, round % logsPeriods === 0);
      await cgroups.updateClasses(workers.active());
      const cidr = options.podCidr();
      if (cidr !== undefined && cidr !== toldCidr) {
        await options.setPodCidr(cidr, signal);
        toldCidr = cidr;
      }
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error }, 'housekeeping failed, will try again');
    }
    await clock.sleep(periodMs, signal).catch(() => undefined);
  }
}
