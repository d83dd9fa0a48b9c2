// A backup: gzipped lines of JSON. First what it is, then each object as it lies in the store, at the end how many there
// are and a digest of all before, so that half a backup is never taken for a whole one.
import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGunzip, createGzip } from 'node:zlib';

export const archiveFormat = 'berth-backup/1';

/** One object: the bytes of the store, sealed where it seals them. */
export interface ArchivedObject {
  key: string;
  revision: number;
  value: Buffer;
}

export interface ArchiveHeader {
  format: typeof archiveFormat;
  /** Of the store when it was read. */
  revision: number;
  /** RFC 3339. */
  takenAt: string;
}

export interface ArchiveSummary extends ArchiveHeader {
  objects: number;
}

/** The file is no backup, or not a whole one. */
export class ArchiveError extends Error {
  readonly code = 'ARCHIVE';

  constructor(path: string, reason: string, cause?: unknown) {
    super(`${path} is not a whole backup: ${reason}`, { cause });
    this.name = 'ArchiveError';
  }
}

/** Writes the file in one step and flushes it. Throws where it exists or cannot be written. */
export async function writeArchive(
  path: string,
  header: Omit<ArchiveHeader, 'format'>,
  objects: Iterable<ArchivedObject>,
): Promise<void> {
  const digest = createHash('sha256');
  function* lines(): Generator<string> {
    let count = 0;
    const told = (value: object): string => {
      const line = `${JSON.stringify(value)}\n`;
      digest.update(line);
      return line;
    };
    yield told({ format: archiveFormat, ...header });
    for (const { key, revision, value } of objects) {
      count += 1;
      yield told({ key, revision, value: value.toString('base64') });
    }
    yield `${JSON.stringify({ objects: count, sha256: digest.digest('hex') })}\n`;
  }
  const temporary = `${path}.new`;
  try {
    const file = createWriteStream(temporary, { flags: 'wx', mode: 0o600, flush: true });
    await pipeline(Readable.from(lines()), createGzip(), file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') await rm(temporary, { force: true });
    throw error;
  }
  await rename(temporary, path);
}

function isObject(value: unknown): value is { key: string; revision: number; value: string } {
  const { key, revision, value: text } = (value ?? {}) as Record<string, unknown>;
  return typeof key === 'string' && Number.isSafeInteger(revision) && Number(revision) > 0 && typeof text === 'string';
}

function headerOf(value: unknown): ArchiveHeader | undefined {
  const { format, revision, takenAt } = (value ?? {}) as Record<string, unknown>;
  if (format !== archiveFormat || !Number.isSafeInteger(revision) || typeof takenAt !== 'string') return undefined;
  return { format: archiveFormat, revision: Number(revision), takenAt };
}

async function readLines(path: string, take: (line: string) => void): Promise<void> {
  const unzipped = createGunzip();
  const source = createReadStream(path);
  source.on('error', (error) => unzipped.destroy(error));
  source.pipe(unzipped);
  for await (const line of createInterface({ input: unzipped, crlfDelay: Number.POSITIVE_INFINITY })) take(line);
}

/**
 * Reads a backup to its end, giving each object to `take`, and checks it whole: what `take` was given counts only once
 * this has resolved. Throws ArchiveError.
 */
export async function readArchive(
  path: string,
  take: (object: ArchivedObject) => void = () => undefined,
): Promise<ArchiveSummary> {
  const digest = createHash('sha256');
  let header: ArchiveHeader | undefined;
  let trailer: Record<string, unknown> | undefined;
  let objects = 0;
  const takeLine = (line: string): void => {
    if (trailer !== undefined) throw new ArchiveError(path, 'it goes on after its end');
    const value: unknown = JSON.parse(line);
    if (header === undefined) {
      header = headerOf(value);
      if (header === undefined) throw new ArchiveError(path, `it does not begin as one of format ${archiveFormat}`);
    } else if (isObject(value)) {
      objects += 1;
      take({ key: value.key, revision: value.revision, value: Buffer.from(value.value, 'base64') });
    } else {
      trailer = value as Record<string, unknown>;
      return;
    }
    digest.update(`${line}\n`);
  };
  try {
    await readLines(path, takeLine);
  } catch (error) {
    if (error instanceof ArchiveError || (error as NodeJS.ErrnoException).code === 'ENOENT') throw error;
    throw new ArchiveError(path, error instanceof Error ? error.message : String(error), error);
  }
  if (header === undefined || trailer === undefined) throw new ArchiveError(path, 'its end is missing');
  if (trailer['objects'] !== objects || trailer['sha256'] !== digest.digest('hex'))
    throw new ArchiveError(path, 'its objects are not those that were written');
  return { ...header, objects };
}
