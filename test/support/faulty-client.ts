// An API client that fails now and then: conflicts, time-outs before and after the server did its work, watches that
// break. A killed one fails at once, also the calls under way, as if its process had died.
import type { ApiClient, WatchEvent } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';

export interface Faults {
  /** In [0, 1), from the test's seed. */
  random(): number;
  /** Share of the calls that fail. */
  rate: number;
  /** Calls whose answer was lost though the server did the work, by method and plural. */
  lost: Map<string, number>;
}

export interface FaultyClient {
  client: ApiClient;
  kill(): void;
}

const writes = [
  'create',
  'createSubresource',
  'update',
  'updateSubresource',
  'updateScale',
  'patch',
  'delete',
] as const;
const reads = ['get', 'list', 'raw'] as const;

const timeout = () => failure(504, 'Timeout', 'the request timed out (made by the test)', {});
const conflict = () => failure(409, 'Conflict', 'the object has been modified (made by the test)', {});
const dead = () => new Error('the process of this client was killed');

/** Wraps a client. Faults of the same seed come in the same order of calls only. */
export function createFaultyClient(inner: ApiClient, faults: Faults): FaultyClient {
  let isDead = false;
  const { random } = faults;

  async function call<T>(method: string, plural: string, isWrite: boolean, work: () => Promise<T>): Promise<T> {
    if (isDead) throw dead();
    const drawn = random();
    if (drawn < faults.rate) {
      const kind = random();
      if (!isWrite || kind < 0.3) throw timeout();
      if (kind < 0.6) throw method === 'create' || method === 'delete' ? timeout() : conflict();
      await work();
      const key = `${method} ${plural}`;
      faults.lost.set(key, (faults.lost.get(key) ?? 0) + 1);
      throw timeout();
    }
    const result = await work();
    if (isDead) throw dead();
    return result;
  }

  async function* watch<T>(events: AsyncIterable<WatchEvent<T>>): AsyncIterable<WatchEvent<T>> {
    for await (const event of events) {
      if (isDead) throw dead();
      yield event;
      if (random() < faults.rate / 10) throw new Error('the watch broke (made by the test)');
    }
  }

  const client = { ...inner } as unknown as Record<string, (...args: unknown[]) => unknown>;
  const target = inner as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>;
  for (const method of [...writes, ...reads]) {
    client[method] = (...args: unknown[]) => {
      const { plural = '' } = (args[0] ?? {}) as { plural?: string };
      // Events are no part of what is checked, and many.
      if (plural === 'events') return target[method]?.(...args);
      const isWrite = (writes as readonly string[]).includes(method);
      return call(method, plural, isWrite, async () => target[method]?.(...args));
    };
  }
  client['watch'] = (...args: unknown[]) =>
    watch((inner.watch as (...all: unknown[]) => AsyncIterable<WatchEvent<unknown>>)(...args));
  return {
    client: client as unknown as ApiClient,
    kill: () => {
      isDead = true;
    },
  };
}
