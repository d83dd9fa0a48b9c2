// The static pods of one source: read again every few seconds, and at once where the source can tell of changes; told
// as they come, change and go.
import { watch } from 'node:fs/promises';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';

/** Reads all pods of the source, first seen at `seen`; undefined when it cannot be asked now. */
export type ReadManifests = (seen: string, signal: AbortSignal) => Promise<Pod[] | undefined>;

export interface StaticPodsOptions {
  read: ReadManifests;
  /** A file or directory whose changes are followed. */
  watched?: string | undefined;
  periodMs: number;
  clock: Clock;
  logger: Logger;
  added(pod: Pod): void;
  removed(pod: Pod): void;
  /** An earlier pod with this uid has not ended yet. */
  isBusy?(uid: string): boolean;
}

export interface StaticPods {
  /** Reads the source once and tells what changed. */
  refresh(signal?: AbortSignal): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** Files are often written in several steps. */
const settleMs = 100;
/** How soon to look again for a pod that waits for an earlier one with its uid. */
const busyRetryMs = 1000;

/** What makes two readings of a pod the same. */
function definitionOf({ metadata, spec }: Pod): unknown {
  const { annotations = {}, ...rest } = metadata;
  const { 'kubernetes.io/config.seen': _seen, ...kept } = annotations;
  return { ...rest, annotations: kept, spec };
}

/** Creates the source. A changed definition is a new pod: the old one goes first. */
export function createStaticPods(options: StaticPodsOptions): StaticPods {
  const { clock, logger, periodMs } = options;
  const known = new Map<string, Pod>();
  let wake: (() => void) | undefined;
  let waiting = false;

  async function refresh(signal: AbortSignal = new AbortController().signal): Promise<void> {
    const pods = await options.read(new Date(clock.now()).toISOString(), signal);
    if (pods === undefined) return;
    const found = new Map(pods.map((pod) => [pod.metadata.uid ?? '', pod]));
    for (const [uid, pod] of known) {
      const now = found.get(uid);
      if (now !== undefined && isDeepStrictEqual(definitionOf(now), definitionOf(pod))) continue;
      known.delete(uid);
      options.removed(pod);
    }
    waiting = false;
    for (const [uid, pod] of found) {
      if (known.has(uid)) continue;
      if (options.isBusy?.(uid) === true) {
        waiting = true;
        continue;
      }
      known.set(uid, pod);
      options.added(pod);
    }
  }

  async function follow(path: string, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const _ of watch(path, { signal })) wake?.();
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (!signal.aborted && code !== 'ENOENT')
          logger.warn({ err: error, path }, 'cannot follow changes of static pods');
      }
      await clock.sleep(periodMs, signal).catch(() => undefined);
    }
  }

  /** Until something happened to the source, or it is time to look. */
  async function pause(signal: AbortSignal): Promise<void> {
    const woken = new AbortController();
    wake = () => woken.abort();
    await clock.sleep(waiting ? busyRetryMs : periodMs, AbortSignal.any([signal, woken.signal])).catch(() => undefined);
    wake = undefined;
    if (woken.signal.aborted) await clock.sleep(settleMs, signal).catch(() => undefined);
  }

  async function poll(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await pause(signal);
      if (signal.aborted) return;
      await refresh(signal).catch((error: unknown) => logger.error({ err: error }, 'cannot read static pods'));
    }
  }

  return {
    refresh,
    async run(signal) {
      const { watched } = options;
      await Promise.all([poll(signal), watched === undefined ? undefined : follow(watched, signal)]);
    },
  };
}
