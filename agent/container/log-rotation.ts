// Keeps container logs within bounds: a log that has grown too large is put aside, the runtime opens a new one, older
// ones are compressed and the oldest removed.
import { createReadStream, createWriteStream } from 'node:fs';
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import { planRotatedLogs, rotatedName } from './plan-log-rotation.ts';

export interface LogRotationOptions {
  runtime: RuntimeService;
  pods(): PodRuntime[];
  clock: Clock;
  logger: Logger;
  /** Zero or less: logs are not rotated. */
  maxBytes: number;
  maxFiles: number;
  periodMs: number;
}

async function compress(path: string): Promise<void> {
  const temporary = `${path}.tmp`;
  await pipeline(createReadStream(path), createGzip(), createWriteStream(temporary, { mode: 0o640 }));
  await rename(temporary, `${path}.gz`);
  await rm(path);
}

async function rotate({ runtime, clock, maxFiles }: LogRotationOptions, container: RuntimeContainer): Promise<void> {
  const directory = dirname(container.logPath);
  const log = basename(container.logPath);
  const plan = planRotatedLogs(log, await readdir(directory), maxFiles);
  for (const name of plan.remove) await rm(join(directory, name), { force: true });
  for (const name of plan.compress) await compress(join(directory, name));
  const aside = join(directory, rotatedName(log, clock.now()));
  await rename(container.logPath, aside);
  try {
    await runtime.reopenContainerLog(container.id);
  } catch (error) {
    // The container still writes to the file that was put aside.
    await rename(aside, container.logPath);
    throw error;
  }
}

/** Looks at the logs of running containers every period, until the signal is aborted. */
export async function runLogRotation(options: LogRotationOptions, signal: AbortSignal): Promise<void> {
  const { clock, logger, maxBytes } = options;
  if (maxBytes <= 0) return;
  while (!signal.aborted) {
    await clock.sleep(options.periodMs, signal).catch(() => undefined);
    for (const container of options.pods().flatMap(({ containers }) => containers)) {
      if (signal.aborted || container.state !== 'running' || container.logPath === '') continue;
      const size = (await stat(container.logPath).catch(() => undefined))?.size ?? 0;
      if (size < maxBytes) continue;
      await rotate(options, container).catch((error: unknown) => {
        logger.warn({ err: error, log: container.logPath }, 'cannot rotate a container log');
      });
    }
  }
}
