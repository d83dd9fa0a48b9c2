// Groups of metrics that somebody switched off stay off over a restart: their names, in a file that is replaced as a
// whole. A file that cannot be read switches nothing.
import { readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { replaceFile } from '#kube/process/replace-file.ts';
import type { MetricGroups } from './metric-groups.ts';

/** The same groups, switched as the file at `path` says, which follows their switches from now on. */
export function keepGroupSwitches(groups: MetricGroups, path: string, logger: Logger): MetricGroups {
  try {
    const file: unknown = JSON.parse(readFileSync(path, 'utf8'));
    const off = typeof file === 'object' && file !== null && 'off' in file && Array.isArray(file.off) ? file.off : [];
    for (const group of off) if (!groups.set(String(group), false)) logger.warn({ group }, 'no such group of metrics');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
      logger.warn({ err: error, path }, 'cannot read which groups of metrics are off');
    }
  }
  let writing: Promise<void> = Promise.resolve();

  async function write(): Promise<void> {
    const off = groups.prices().flatMap(({ group, enabled }) => (enabled ? [] : [group]));
    await replaceFile(path, JSON.stringify({ off }));
  }

  return {
    ...groups,
    set(group, enabled) {
      if (!groups.set(group, enabled)) return false;
      writing = writing
        .then(write)
        .catch((error: unknown) => logger.error({ err: error, path }, 'cannot write which groups of metrics are off'));
      return true;
    },
    saved: () => writing,
  };
}
