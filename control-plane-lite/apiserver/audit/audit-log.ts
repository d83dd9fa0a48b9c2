// The file of the audit log: lines appended in batches, put aside when it is full. Nobody waits for it: what the disk does
// not take is dropped, counted, and said once.
import { createWriteStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Logger } from 'pino';
import type { AuditConfig } from '../../request-config.ts';

export interface AuditLog {
  write(line: string): void;
  /** Writes what is left, and closes. */
  close(): Promise<void>;
}

export interface AuditLogDeps {
  config: Omit<AuditConfig, 'policyFile'>;
  logger: Logger;
  nowMs(): number;
  /** Told of lines that are lost. */
  lost(lines: number): void;
}

const bytesPerMb = 1024 * 1024;
const dayMs = 86_400_000;
/** Lines that wait for a slow disk; more are lost. */
const maxWaitingBytes = 64 * bytesPerMb;
const privateMode = 0o600;

/** audit.log put aside is audit-2026-01-02T03-04-05.678.log. */
function asideName(path: string, nowMs: number): string {
  const extension = extname(path);
  const stamp = new Date(nowMs).toISOString().replaceAll(':', '-').replace('Z', '');
  return join(dirname(path), `${basename(path, extension)}-${stamp}${extension}`);
}

const stampPattern = /^\d{4}-\d{2}-\d{2}T\d{2}-\d{2}-\d{2}\.\d{3}$/;

/** Old logs that are to go, given the names in the folder. Pure. */
export function planRemovals(
  names: readonly string[],
  path: string,
  { maxBackups, maxAgeDays }: Pick<AuditConfig, 'maxBackups' | 'maxAgeDays'>,
  nowMs: number,
): string[] {
  const extension = extname(path);
  const prefix = `${basename(path, extension)}-`;
  const old = names
    .filter((name) => name.startsWith(prefix) && name.endsWith(extension))
    .map((name) => ({ name, stamp: name.slice(prefix.length, name.length - extension.length) }))
    .filter(({ stamp }) => stampPattern.test(stamp))
    .sort((a, b) => (a.stamp < b.stamp ? 1 : -1));
  const atMs = (stamp: string) => Date.parse(`${stamp.slice(0, 10)}T${stamp.slice(11).replaceAll('-', ':')}Z`);
  return old
    .filter(
      ({ stamp }, index) =>
        (maxBackups > 0 && index >= maxBackups) || (maxAgeDays > 0 && atMs(stamp) < nowMs - maxAgeDays * dayMs),
    )
    .map(({ name }) => name);
}

/** Lines to the standard output. */
function createStandardLog(): AuditLog {
  const stream = createWriteStream('', { fd: 1, autoClose: false });
  stream.on('error', () => undefined);
  return {
    write: (line) => void stream.write(line),
    close: () => new Promise((resolve) => stream.end(resolve)),
  };
}

/** Opens the log, or rejects when it cannot be written at all. */
export async function openAuditLog(deps: AuditLogDeps): Promise<AuditLog> {
  const { config, logger, nowMs, lost } = deps;
  if (config.logPath === '-') return createStandardLog();
  const maxBytes = config.maxSizeMb * bytesPerMb;
  await mkdir(dirname(config.logPath), { recursive: true, mode: 0o700 });
  let file: FileHandle = await open(config.logPath, 'a', privateMode);
  let size = (await stat(config.logPath)).size;
  let waiting: string[] = [];
  let waitingBytes = 0;
  let isFailing = false;
  let writing: Promise<void> | undefined;

  const removeOld = async () => {
    const folder = dirname(config.logPath);
    const gone = planRemovals(await readdir(folder), config.logPath, config, nowMs());
    await Promise.all(gone.map((name) => rm(join(folder, name), { force: true })));
  };

  const putAside = async () => {
    await file.close();
    await rename(config.logPath, asideName(config.logPath, nowMs()));
    file = await open(config.logPath, 'a', privateMode);
    size = 0;
    await removeOld();
  };

  const append = async (lines: readonly string[]) => {
    const bytes = Buffer.from(lines.join(''));
    try {
      if (maxBytes > 0 && size > 0 && size + bytes.length > maxBytes) await putAside();
      await file.appendFile(bytes);
      size += bytes.length;
      if (isFailing) logger.info({ file: config.logPath }, 'the audit log is written again');
      isFailing = false;
    } catch (error) {
      lost(lines.length);
      if (!isFailing)
        logger.error({ err: error, file: config.logPath }, 'the audit log cannot be written: events are lost');
      isFailing = true;
    }
  };

  const drain = async () => {
    while (waiting.length > 0) {
      const lines = waiting;
      waiting = [];
      waitingBytes = 0;
      await append(lines);
    }
    writing = undefined;
  };

  await removeOld();
  return {
    write: (line) => {
      if (waitingBytes > maxWaitingBytes) {
        lost(1);
        return;
      }
      waiting.push(line);
      waitingBytes += line.length;
      writing ??= Promise.resolve().then(drain);
    },
    close: async () => {
      await writing;
      await file.close();
    },
  };
}
