// The files of one container's log, followed over rotations: each new file is opened as soon as it appears, and so is
// read to its end however slow the reader is, also when it was compressed or removed meanwhile.
import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Clock } from '#kube/process/clock.ts';

/** How often a new file is looked for. Rotations of one log are at least a second apart. */
const lookMs = 200;

export interface LogFiles extends AsyncDisposable {
  /** The file to read now. */
  current(): FileHandle;
  /** Whether there are files after the current one: then nothing more is written to it. */
  hasNext(): boolean;
  /** Looks for a new file now. */
  look(): Promise<void>;
  /** Goes on to the next file. */
  advance(): Promise<void>;
}

/** Opens the log. With `follow`, looks for its next files until disposed. Rejects with ENOENT when there is no log. */
export async function openLogFiles(path: string, follow: boolean, clock: Clock): Promise<LogFiles> {
  const first = await open(path, 'r');
  const files: [FileHandle, ...FileHandle[]] = [first];
  const stop = new AbortController();
  let newestInode = (await first.stat()).ino;

  async function lookOnce(): Promise<void> {
    // Between putting one file aside and opening the next there is none.
    const seen = await stat(path).catch(() => undefined);
    if (seen === undefined || seen.ino === newestInode) return;
    const file = await open(path, 'r').catch(() => undefined);
    if (file === undefined) return;
    newestInode = (await file.stat()).ino;
    files.push(file);
  }

  let lastLook = Promise.resolve();
  const look = (): Promise<void> => {
    lastLook = lastLook.then(lookOnce);
    return lastLook;
  };

  async function keepLooking(): Promise<void> {
    while (!stop.signal.aborted) {
      await clock.sleep(lookMs, stop.signal).catch(() => undefined);
      if (!stop.signal.aborted) await look();
    }
  }
  const looking = follow ? keepLooking() : Promise.resolve();

  return {
    current: () => files[0],
    hasNext: () => files.length > 1,
    look,
    async advance() {
      const [done, next, ...others] = files;
      if (next === undefined) throw new Error(`there is no file after ${path}`);
      files.splice(0, files.length, next, ...others);
      await done.close();
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await looking;
      await Promise.all(files.map((file) => file.close()));
    },
  };
}
