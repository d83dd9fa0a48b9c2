// Static pods from a directory of manifests, or from one file: plain files whose names do not begin with a dot, one
// pod each.
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { parseStaticPod, type StaticOrigin } from './parse-static-pod.ts';
import type { ReadManifests } from './static-pods.ts';

/** Larger files are no manifests. */
const maxBytes = 10 * 1024 * 1024;

async function pathsOf(path: string): Promise<string[]> {
  try {
    const found = await stat(path);
    if (found.isFile()) return [path];
    const names = await readdir(path);
    return names
      .filter((name) => !name.startsWith('.'))
      .sort()
      .map((name) => join(path, name));
  } catch (error) {
    // The directory may come later.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function readManifest(path: string): Promise<string | undefined> {
  try {
    const found = await stat(path);
    return found.isFile() && found.size <= maxBytes ? await readFile(path, 'utf8') : undefined;
  } catch (error) {
    // Removed meanwhile, or a link to nothing.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Reads all manifests; one that is wrong is complained about once for each version of it, and left out. */
export function manifestDirectory(
  path: string,
  origin: Omit<StaticOrigin, 'place' | 'source'>,
  logger: Logger,
): ReadManifests {
  const bad = new Map<string, string>();
  return async (seen) => {
    const pods: Pod[] = [];
    for (const place of await pathsOf(path)) {
      const text = await readManifest(place);
      if (text === undefined) continue;
      try {
        pods.push(parseStaticPod(text, { ...origin, source: 'file', place }, seen));
        bad.delete(place);
      } catch (error) {
        if (bad.get(place) !== text) logger.error({ err: error, path: place }, 'cannot use a static pod manifest');
        bad.set(place, text);
      }
    }
    return pods;
  };
}
