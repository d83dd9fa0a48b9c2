// How often a container was started, from the names of its log files: what is left when the runtime forgot the
// container, as it does when the machine or its state is new.
import { readdir } from 'node:fs/promises';

const logName = /^(\d+)\.log/;

/** The restart count that follows those of the logs in the directory; 0 where there are none. */
export async function restartCountOfLogs(directory: string): Promise<number> {
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw error;
  });
  const counts = names.flatMap((name) => {
    const [, count] = logName.exec(name) ?? [];
    return count === undefined ? [] : [Number(count)];
  });
  return Math.max(-1, ...counts) + 1;
}
