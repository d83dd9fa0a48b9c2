// Reads a container's log in CRI form the way `kubectl logs` asks for it: the end of it, since a time, following it
// across rotations.
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Clock } from '#kube/process/clock.ts';
import { parseLogLine } from '../container/log-line.ts';

const chunkBytes = 64 * 1024;
const pollMs = 200;

/** What is asked for. */
export interface LogOptions {
  follow: boolean;
  timestamps: boolean;
  /** Absent: from the beginning. */
  tailLines: number | undefined;
  sinceMs: number | undefined;
  limitBytes: number | undefined;
  stream: 'All' | 'Stdout' | 'Stderr';
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

function wanted(line: string, options: LogOptions): { text: string; partial: boolean; timestamp: string } | undefined {
  const parsed = parseLogLine(line);
  if (parsed === undefined) return undefined;
  if (options.stream !== 'All' && parsed.stream !== options.stream.toLowerCase()) return undefined;
  if (options.sinceMs !== undefined && Date.parse(parsed.timestamp) < options.sinceMs) return undefined;
  return { text: parsed.content, partial: parsed.partial, timestamp: parsed.timestamp };
}

/** Turns raw log bytes into output; keeps the state between chunks. */
function createFormatter(options: LogOptions): (chunk: Buffer) => string {
  let rest = Buffer.alloc(0);
  let continues = false;
  return (chunk) => {
    let data = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    const out: string[] = [];
    for (let at = data.indexOf(0x0a); at >= 0; at = data.indexOf(0x0a)) {
      const line = wanted(data.subarray(0, at).toString('utf8'), options);
      data = data.subarray(at + 1);
      if (line === undefined) continue;
      if (options.timestamps && !continues) out.push(`${line.timestamp} `);
      out.push(line.text);
      if (!line.partial) out.push('\n');
      continues = line.partial;
    }
    rest = Buffer.from(data);
    return out.join('');
  };
}

async function hasRotated(path: string, file: FileHandle): Promise<boolean> {
  const current = await stat(path).catch(() => undefined);
  return current !== undefined && current.ino !== (await file.stat()).ino;
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
  let file = await open(path, 'r');
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  try {
    const { size } = await file.stat();
    let position = options.tailLines === undefined ? 0 : await findTailOffset(file, size, options.tailLines);
    // Without follow the log ends where it ended when it was asked for.
    const end = options.follow ? Number.POSITIVE_INFINITY : size;
    const format = createFormatter(options);
    const buffer = Buffer.alloc(chunkBytes);
    while (!signal.aborted && left > 0) {
      // Asked before reading: what was written before the end is then read for certain.
      const running = options.follow && source.isRunning();
      const { bytesRead } = await file.read(buffer, 0, Math.min(chunkBytes, end - position), position);
      if (bytesRead > 0) {
        position += bytesRead;
        const text = Buffer.from(format(buffer.subarray(0, bytesRead)));
        const part = text.length > left ? text.subarray(0, left) : text;
        left -= part.length;
        if (part.length > 0) yield part;
        continue;
      }
      if (options.follow && (await hasRotated(path, file))) {
        await file.close();
        file = await open(path, 'r');
        position = 0;
        continue;
      }
      if (!running) return;
      await clock.sleep(pollMs, signal).catch(() => undefined);
    }
  } finally {
    await file.close();
  }
}
