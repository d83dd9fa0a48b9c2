// Removes dead containers beyond those that are kept, once a minute and when the node is short of disk.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { isCriNotFound } from '../cri/cri-error.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { type ContainerGarbagePolicy, planContainerGarbage } from './plan-container-garbage.ts';
import { removeRunLog } from './remove-log.ts';

const periodMs = 60_000;

export interface ContainerGarbageOptions {
  runtime: Pick<RuntimeService, 'removeContainer'>;
  pods(): readonly PodRuntime[];
  /** No container of the pod runs or will. */
  hasEnded(podUid: string): boolean;
  refresh(podUid: string, signal: AbortSignal): Promise<unknown>;
  policy: ContainerGarbagePolicy;
  clock: Clock;
  logger: Logger;
}

export interface ContainerGarbage {
  /** Removes what is beyond the policy. */
  collect(signal: AbortSignal): Promise<void>;
  /** Also the last containers of pods that have ended. Returns how many went. */
  removeUnused(signal: AbortSignal): Promise<number>;
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the collector. */
export function createContainerGarbage(options: ContainerGarbageOptions): ContainerGarbage {
  const { clock, logger, policy } = options;

  async function collect(hasEnded: (podUid: string) => boolean, signal: AbortSignal): Promise<number> {
    const pods = options.pods();
    const garbage = planContainerGarbage(pods, policy, { nowMs: clock.now(), hasEnded });
    const changed = new Set<string>();
    for (const container of garbage) {
      signal.throwIfAborted();
      await options.runtime.removeContainer(container.id, signal).catch((error: unknown) => {
        if (!isCriNotFound(error)) logger.warn({ err: error, container: container.id }, 'cannot remove a container');
      });
      await removeRunLog(container.logPath).catch((error: unknown) =>
        logger.warn({ err: error, log: container.logPath }, 'cannot remove the log of a container'),
      );
      const uid = pods.find(({ containers }) => containers.includes(container))?.uid;
      if (uid !== undefined) changed.add(uid);
    }
    for (const uid of changed) await options.refresh(uid, signal);
    return garbage.length;
  }

  return {
    collect: async (signal) => void (await collect(() => false, signal)),
    removeUnused: (signal) => collect(options.hasEnded, signal),
    async run(signal) {
      while (!signal.aborted) {
        await clock.sleep(periodMs, signal).catch(() => undefined);
        if (signal.aborted) return;
        await collect(() => false, signal).catch((error: unknown) => {
          if (!signal.aborted) logger.warn({ err: error }, 'cannot remove dead containers');
        });
      }
    },
  };
}
