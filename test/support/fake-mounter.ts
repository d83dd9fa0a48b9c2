// A mounter that mounts nothing, and remembers what is mounted.
import type { Mounter } from '../../agent/volume/mounter.ts';

/** `calls` replace its own. */
export function createFakeMounter(calls: Partial<Mounter> = {}): Mounter {
  const mounted: string[] = [];
  return {
    mount: async ({ target }) => void mounted.push(target),
    bind: async (_, target) => void mounted.push(target),
    unmount: async (target) => void mounted.splice(mounted.lastIndexOf(target), 1),
    listBelow: async (directory) =>
      mounted
        .filter((path) => path === directory || path.startsWith(`${directory}/`))
        .sort((a, b) => b.length - a.length),
    ...calls,
  };
}
