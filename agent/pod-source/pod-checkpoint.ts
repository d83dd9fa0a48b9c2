// The pods that the API server last gave this node, on disk: what a machine that starts without an API server runs. Only
// definitions: what they refer to (secrets, tokens) is not in them.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { isPodTerminal } from '#kube/api/pod-state.ts';
import type { Clock } from '#kube/process/clock.ts';
import { replaceFile } from '#kube/process/replace-file.ts';

/** Changes that come together are written together. */
const delayMs = 500;
/** The disk may be full. */
const retryMs = 10_000;

export interface PodCheckpoint {
  /** The pods as they were last written; none when there is no file, or none that can be used. */
  read(): Promise<Pod[]>;
  /** Something of the pods has changed: they are written soon. */
  changed(): void;
  /** Writes what has changed until the signal is aborted, and once more then. */
  run(signal: AbortSignal): Promise<void>;
}

interface CheckpointFile {
  version: 1;
  pods: Pod[];
}

/** The pod as it is kept: nothing that only others need, none that has ended. */
export function selectKept(pods: readonly Pod[]): Pod[] {
  return pods
    .filter((pod) => !isPodTerminal(pod) && pod.metadata.deletionTimestamp === undefined)
    .map((pod) => {
      const { managedFields: _, ...metadata } = pod.metadata;
      return { ...pod, metadata };
    });
}

function isPod(value: unknown): value is Pod {
  const { metadata, spec } = (value ?? {}) as Partial<Pod>;
  return typeof metadata?.uid === 'string' && typeof metadata.name === 'string' && Array.isArray(spec?.containers);
}

/** The checkpoint at `path`; `pods` answers what is to be kept. */
export function createPodCheckpoint(
  path: string,
  pods: () => readonly Pod[],
  clock: Clock,
  logger: Logger,
): PodCheckpoint {
  let wanted = Promise.withResolvers<void>();
  let isDirty = false;
  let last = '';

  async function save(): Promise<void> {
    isDirty = false;
    const file: CheckpointFile = { version: 1, pods: selectKept(pods()) };
    const text = JSON.stringify(file);
    if (text === last) return;
    try {
      await replaceFile(path, text, { directoryMode: 0o700 });
      last = text;
    } catch (error) {
      isDirty = true;
      logger.warn({ err: error, path }, 'cannot write the checkpoint of pods, will try again');
    }
  }

  return {
    async read() {
      try {
        const { version, pods: kept } = JSON.parse(await readFile(path, 'utf8')) as Partial<CheckpointFile>;
        if (version !== 1 || !Array.isArray(kept)) throw new Error('it is of an unknown version');
        return kept.filter(isPod);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
          logger.warn({ err: error, path }, 'cannot read the checkpoint of pods');
        }
        return [];
      }
    },
    changed() {
      isDirty = true;
      wanted.resolve();
    },
    async run(signal) {
      const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      while (!signal.aborted) {
        await Promise.race([wanted.promise, aborted]);
        if (!signal.aborted) await clock.sleep(delayMs, signal).catch(() => undefined);
        wanted = Promise.withResolvers();
        if (isDirty) await save();
        while (isDirty && !signal.aborted) {
          await clock.sleep(retryMs, signal).catch(() => undefined);
          if (!signal.aborted) await save();
        }
      }
      // The last chance: there may be room by now.
      if (isDirty) await save();
    },
  };
}
