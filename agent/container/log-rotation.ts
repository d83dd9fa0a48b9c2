// Keeps container logs within bounds: a log that has grown too large is put aside, the runtime opens a new one, older
// ones are compressed and the oldest removed. A log that nobody writes to costs nothing but a watch of its file; one
// that grows is looked at as often as its growth asks for.
import { createReadStream, createWriteStream, existsSync, type FSWatcher, watch } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import { computeNextLookMs, planRotatedLogs, rotatedName } from './plan-log-rotation.ts';

export interface LogRotationOptions {
  runtime: RuntimeService;
  pods(): PodRuntime[];
  clock: Clock;
  logger: Logger;
  /** Zero or less: logs are not rotated. */
  maxBytes: number;
  maxFiles: number;
  /** The longest time between two looks at a log. */
  periodMs: number;
  /** How many logs are looked at and put aside at once. */
  workers?: number;
  /** Calls back once when the file changes; returns how to stop waiting. */
  watchFile?(path: string, changed: () => void): () => void;
}

/** What is known of a running container's log. */
interface WatchedLog {
  sizeBytes: number;
  lookedAtMs: number;
  nextLookMs: number;
  unwatch: (() => void) | undefined;
  /** Compressing what was put aside before. */
  tidying: Promise<void>;
}

/** How often new containers are looked for; in memory, without asking anybody. */
const roundMs = 1000;
/** A file that changed is looked at this much later, to see how fast it grows. */
const changedLookMs = 250;

function newLog(now: number): WatchedLog {
  return { sizeBytes: 0, lookedAtMs: now, nextLookMs: now, unwatch: undefined, tidying: Promise.resolve() };
}

function watchOnce(path: string, changed: () => void): () => void {
  let watcher: FSWatcher;
  try {
    watcher = watch(path, { persistent: false });
  } catch {
    // The machine has no watch left, or the file is gone: the log is looked at once a period all the same.
    return () => undefined;
  }
  const end = () => {
    watcher.close();
    changed();
  };
  watcher.once('change', end);
  watcher.once('error', end);
  return () => watcher.close();
}

async function compress(path: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await pipeline(createReadStream(path), createGzip(), createWriteStream(temporary, { mode: 0o640 }));
  await rename(temporary, `${path}.gz`);
  await rm(path);
}

/** Puts the log aside. What is then to be done with older files takes longer and is answered as a function. */
async function rotate(
  { runtime, clock, maxFiles }: LogRotationOptions,
  container: RuntimeContainer,
): Promise<() => Promise<void>> {
  const directory = dirname(container.logPath);
  const log = basename(container.logPath);
  const names = await readdir(directory);
  const plan = planRotatedLogs(log, names, maxFiles);
  const aside = join(directory, rotatedName(log, clock.now(), names));
  await rename(container.logPath, aside);
  try {
    await runtime.reopenContainerLog(container.id);
  } catch (error) {
    // The container still writes to the file that was put aside.
    await rename(aside, container.logPath);
    throw error;
  }
  return async () => {
    for (const name of plan.remove) await rm(join(directory, name), { force: true });
    for (const name of plan.compress) await compress(join(directory, name));
  };
}

/** Looks at the logs of running containers, until the signal is aborted. */
export async function runLogRotation(options: LogRotationOptions, signal: AbortSignal): Promise<void> {
  const { clock, logger, maxBytes, periodMs, workers = 1, watchFile = watchOnce } = options;
  if (maxBytes <= 0) return;
  const logs = new Map<string, WatchedLog>();
  let wake = Promise.withResolvers<void>();

  const failed = (container: RuntimeContainer, error: unknown): void => {
    logger.warn({ err: error, log: container.logPath }, 'cannot rotate a container log');
  };

  async function look(container: RuntimeContainer, log: WatchedLog): Promise<void> {
    const { logPath } = container;
    log.unwatch?.();
    log.unwatch = undefined;
    const now = clock.monotonicMs();
    let sizeBytes = (await stat(logPath).catch(() => undefined))?.size ?? 0;
    const grown = { sizeBytes, grownBytes: sizeBytes - log.sizeBytes, elapsedMs: now - log.lookedAtMs };
    log.nextLookMs = now + computeNextLookMs(grown, maxBytes, periodMs);
    if (sizeBytes >= maxBytes) {
      await log.tidying;
      const tidy = await rotate(options, container);
      log.tidying = tidy().catch((error: unknown) => failed(container, error));
      sizeBytes = 0;
    }
    const isQuiet = sizeBytes === log.sizeBytes;
    Object.assign(log, { sizeBytes, lookedAtMs: now });
    if (!isQuiet || !existsSync(logPath)) return;
    log.unwatch = watchFile(logPath, () => {
      log.unwatch = undefined;
      log.nextLookMs = Math.min(log.nextLookMs, clock.monotonicMs() + changedLookMs);
      wake.resolve();
    });
  }

  while (!signal.aborted) {
    const running = options
      .pods()
      .flatMap(({ containers }) => containers)
      .filter(({ state, logPath }) => state === 'running' && logPath !== '');
    const ids = new Set(running.map(({ id }) => id));
    for (const [id, log] of logs) {
      if (ids.has(id)) continue;
      log.unwatch?.();
      logs.delete(id);
    }
    const left = running.values();
    const work = async (): Promise<void> => {
      for (const container of left) {
        if (signal.aborted) return;
        const now = clock.monotonicMs();
        const log = logs.get(container.id) ?? newLog(now);
        logs.set(container.id, log);
        if (log.nextLookMs > now) continue;
        log.nextLookMs = now + periodMs;
        await look(container, log).catch((error: unknown) => failed(container, error));
      }
    };
    await Promise.all(Array.from({ length: workers }, work));
    wake = Promise.withResolvers<void>();
    const next = Math.min(...[...logs.values()].map(({ nextLookMs }) => nextLookMs)) - clock.monotonicMs();
    const waited = new AbortController();
    const sleeping = clock.sleep(
      Math.max(Math.min(next, roundMs, periodMs), 10),
      AbortSignal.any([signal, waited.signal]),
    );
    await Promise.race([sleeping.catch(() => undefined), wake.promise]);
    waited.abort();
  }
  for (const log of logs.values()) log.unwatch?.();
  await Promise.all([...logs.values()].map(({ tidying }) => tidying));
}
