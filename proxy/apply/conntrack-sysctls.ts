// Writes the kernel's settings for connection tracking, each only where it differs.
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';

/** Entries a bucket of the hash table should hold at most. */
const entriesPerBucket = 4;

async function setNumber(path: string, value: number, logger: Logger): Promise<void> {
  try {
    const current = Number((await readFile(path, 'utf8')).trim());
    if (current === value) return;
    await writeFile(path, `${value}`);
    logger.info({ path, from: current, to: value }, 'changed a kernel setting');
  } catch (error) {
    // In containers and network namespaces some are read-only: the machine's owner has set them.
    logger.warn({ err: error, path, value }, 'cannot change a kernel setting; it stays as it is');
  }
}

/** Applies settings by name below net/netfilter. A setting that cannot be written is warned about. */
export async function applyConntrackSysctls(
  sysctls: ReadonlyMap<string, number>,
  root: string,
  logger: Logger,
): Promise<void> {
  for (const [name, value] of sysctls) await setNumber(join(root, 'proc/sys/net/netfilter', name), value, logger);
  const max = sysctls.get('nf_conntrack_max');
  if (max === undefined) return;
  const hashSize = join(root, 'sys/module/nf_conntrack/parameters/hashsize');
  const buckets = Number((await readFile(hashSize, 'utf8').catch(() => '')).trim());
  const wanted = Math.ceil(max / entriesPerBucket);
  if (buckets > 0 && buckets < wanted) await setNumber(hashSize, wanted, logger);
}
