// Where the package's own files are, from the sources and from the bundle in dist/ alike.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/** The nearest folder above this file that holds package.json. */
export function packageRoot(from: string = import.meta.dirname): string {
  let dir = from;
  while (!existsSync(join(dir, 'package.json'))) {
    const parent = dirname(dir);
    if (parent === dir) throw new Error(`no package.json above ${from}`);
    dir = parent;
  }
  return dir;
}

/** The berth command as other processes start it. */
export function berthCommand(root: string = packageRoot()): string {
  return join(root, 'packaging', 'berth');
}
