// The log of a run whose container is removed goes with it, and so do its rotated files. The newest log of a container
// stays: from its name the number of restarts is known when the runtime has forgotten everything.
import { readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

const logName = /^(\d+)\.log(?:\..+)?$/;

/** Removes the log of one run; `path` is empty where the runtime knows none. */
export async function removeRunLog(path: string): Promise<void> {
  const own = logName.exec(basename(path))?.[1];
  if (own === undefined) return;
  const directory = dirname(path);
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const runs = names.flatMap((name) => {
    const run = logName.exec(name)?.[1];
    return run === undefined ? [] : [{ name, run: Number(run) }];
  });
  const newest = Math.max(...runs.map(({ run }) => run));
  if (Number(own) >= newest) return;
  for (const { name, run } of runs) if (run === Number(own)) await rm(join(directory, name), { force: true });
}
