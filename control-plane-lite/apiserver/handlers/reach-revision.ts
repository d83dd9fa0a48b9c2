// Reads that must not be older than a revision: a server beside others may hear of it a moment later.
import { FutureRevisionError } from '../../storage/backend.ts';
import type { ResourceCache } from '../../storage/cache/resource-cache.ts';
import type { ApiContext } from '../api-context.ts';

/** As long as the reference waits for its cache. */
const patienceMs = 3000;

/** Resolves when the cache is as new as that. Rejects with FutureRevisionError when it does not become so in time. */
export async function reachRevision(api: ApiContext, cache: ResourceCache, revision: number): Promise<void> {
  if (cache.revision >= revision) return;
  const waiting = new AbortController();
  const { signal } = waiting;
  try {
    await Promise.race([
      api.registry.cache.reached(revision, signal),
      new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, patienceMs);
        signal.addEventListener('abort', () => clearTimeout(timer));
      }),
    ]);
  } finally {
    waiting.abort();
  }
  if (cache.revision < revision) throw new FutureRevisionError(revision, cache.revision);
}
