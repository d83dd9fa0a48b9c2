// A client of which so many calls are under way at most. Time limits of calls begin when they do: a call that waits for
// its turn is not given up, and its connection with it, because the server is busy.
import type { ApiClient } from '#kube/client/types.ts';

/** Runs work when there is room for it, in the order in which it was asked for. */
export function createTurns(limit: number): <T>(work: () => Promise<T>) => Promise<T> {
  let underWay = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (underWay < limit) underWay += 1;
    // Whoever ends hands its place over.
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next === undefined) underWay -= 1;
      else next();
    }
  };
}

/** The calls that agents make take turns; watches do not. */
export function limitCalls(client: ApiClient, limit: number): ApiClient {
  const inTurn = createTurns(limit);
  return {
    ...client,
    get: (resource, key, options) => inTurn(() => client.get(resource, key, options)),
    list: (resource, options) => inTurn(() => client.list(resource, options)),
    create: (resource, namespace, object, options) => inTurn(() => client.create(resource, namespace, object, options)),
    update: (resource, object, options) => inTurn(() => client.update(resource, object, options)),
    patch: (resource, key, type, patch, options) => inTurn(() => client.patch(resource, key, type, patch, options)),
    delete: (resource, key, body, options) => inTurn(() => client.delete(resource, key, body, options)),
  };
}
