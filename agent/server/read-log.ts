// Reads a container's log in CRI form the way `kubectl logs` asks for it: the end of it, since a time, following it
// across rotations.
import type { FileHandle } from 'node:fs/promises';
import type { Clock } from '#kube/process/clock.ts';
import { openLogFiles } from './log-files.ts';
import { createLogFormatter, type LogSelection } from './log-format.ts';

const chunkBytes = 64 * 1024;
const pollMs = 200;

/** What is asked for. */
export interface LogOptions extends LogSelection {
  follow: boolean;
  /** Absent: from the beginning. */
  tailLines: number | undefined;
  limitBytes: number | undefined;
}

/** Where a read of the last `lines` lines begins. */
export async function findTailOffset(file: FileHandle, size: number, lines: number): Promise<number> {
  if (lines === 0) return size;
  let seen = 0;
  const buffer = Buffer.alloc(chunkBytes);
  for (let end = size; end > 0; ) {
    const start = Math.max(end - chunkBytes, 0);
    const { bytesRead } = await file.read(buffer, 0, end - start, start);
    for (let index = bytesRead - 1; index >= 0; index -= 1) {
      if (buffer[index] !== 0x0a || start + index === size - 1) continue;
      seen += 1;
      if (seen === lines) return start + index + 1;
    }
    end = start;
  }
  return 0;
}

/**
 * Yields output until the end, or with `follow` until `isRunning` is false and everything has been read.
 * Rejects with ENOENT when there is no log.
 */
export async function* readLog(
  path: string,
  options: LogOptions,
  source: { isRunning(): boolean; clock: Clock; signal: AbortSignal },
): AsyncGenerator<Buffer> {
  const { clock, signal } = source;
  await using files = await openLogFiles(path, options.follow, clock);
  const { size } = await files.current().stat();
  let position = options.tailLines === undefined ? 0 : await findTailOffset(files.current(), size, options.tailLines);
  // Without follow the log ends where it ended when it was asked for.
  const end = options.follow ? Number.POSITIVE_INFINITY : size;
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  const format = createLogFormatter(options);
  const buffer = Buffer.alloc(chunkBytes);
  while (!signal.aborted && left > 0) {
    // Asked before reading: what was written before the end, or before the next file, is then read for certain.
    const running = options.follow && source.isRunning();
    const isComplete = files.hasNext();
    const { bytesRead } = await files.current().read(buffer, 0, Math.min(chunkBytes, end - position), position);
    if (bytesRead > 0) {
      position += bytesRead;
      const text = format(buffer.subarray(0, bytesRead));
      const part = text.length > left ? text.subarray(0, left) : text;
      left -= part.length;
      if (part.length > 0) yield part;
    } else if (isComplete) {
      await files.advance();
      position = 0;
    } else if (running) {
      await clock.sleep(pollMs, signal).catch(() => undefined);
    } else {
      if (options.follow) await files.look();
      if (!files.hasNext()) return;
    }
  }
}
