// The pods of the manifest directory: read again every few seconds, told as they come, change and go.
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import { parseStaticPod } from './parse-static-pod.ts';

export interface StaticPodsOptions {
  /** Absent: the node has no manifests. */
  directory: string | undefined;
  nodeName: string;
  periodMs: number;
  clock: Clock;
  logger: Logger;
  added(pod: Pod): void;
  removed(pod: Pod): void;
}

export interface StaticPods {
  /** Reads the directory once and tells what changed. */
  refresh(): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the source. A changed manifest is a new pod: the old one goes. */
export function createStaticPods(options: StaticPodsOptions): StaticPods {
  const { directory, nodeName, clock, logger } = options;
  const known = new Map<string, Pod>();
  /** Text of manifests that could not be read, so that each is complained about once. */
  const bad = new Map<string, string>();

  async function readAll(root: string): Promise<Map<string, Pod>> {
    const found = new Map<string, Pod>();
    const names = await readdir(root).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
    for (const name of names.filter((item) => !item.startsWith('.')).sort()) {
      const path = join(root, name);
      const text = await readFile(path, 'utf8').catch(() => undefined);
      if (text === undefined) continue;
      try {
        const pod = parseStaticPod(text, path, nodeName, new Date(clock.now()).toISOString());
        found.set(pod.metadata.uid ?? '', pod);
        bad.delete(path);
      } catch (error) {
        if (bad.get(path) !== text) logger.error({ err: error, path }, 'cannot use a static pod manifest');
        bad.set(path, text);
      }
    }
    return found;
  }

  async function refresh(): Promise<void> {
    if (directory === undefined) return;
    const found = await readAll(directory);
    for (const [uid, pod] of known) {
      if (found.has(uid)) continue;
      known.delete(uid);
      options.removed(pod);
    }
    for (const [uid, pod] of found) {
      if (known.has(uid)) continue;
      known.set(uid, pod);
      options.added(pod);
    }
  }

  return {
    refresh,
    async run(signal) {
      while (!signal.aborted && directory !== undefined) {
        await clock.sleep(options.periodMs, signal).catch(() => undefined);
        if (signal.aborted) return;
        await refresh().catch((error: unknown) => logger.error({ err: error, directory }, 'cannot read static pods'));
      }
      if (!signal.aborted) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      }
    },
  };
}
