// The newest version of an object a controller knows: the informer's, or the answer to its own last write, whichever
// is newer. Without it a controller that writes often loses most of its writes to its own earlier ones.
import { type KubeObject, objectKey } from '#kube/api/resource.ts';
import type { Lister } from '#kube/informer/types.ts';

export interface Freshest<T> {
  get(key: string): T | undefined;
  /** Told of the answer to every write. */
  wrote(object: T): void;
}

/** Revisions are numbers that grow; only the informer says that an object is gone. */
export function createFreshest<T extends KubeObject>(lister: Pick<Lister<T>, 'get'>): Freshest<T> {
  const written = new Map<string, T>();
  return {
    get(key) {
      const seen = lister.get(key);
      const own = written.get(key);
      if (own === undefined) return seen;
      const isNewer =
        seen !== undefined &&
        seen.metadata.uid === own.metadata.uid &&
        Number(own.metadata.resourceVersion) > Number(seen.metadata.resourceVersion);
      if (isNewer) return own;
      written.delete(key);
      return seen;
    },
    wrote: (object) => void written.set(objectKey(object), object),
  };
}
