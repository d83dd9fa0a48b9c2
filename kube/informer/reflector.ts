// Drives the list-watch state machine against an API server until the signal is aborted.
import type { Logger } from 'pino';
import type { KubeObject, Resource } from '../api/resource.ts';
import type { ApiClient } from '../client/types.ts';
import { isGone, isInvalid, isResourceVersionTooLarge, StatusError } from '../errors/status-error.ts';
import type { Clock } from '../process/clock.ts';
import { backoffDelayMs } from '../queue/backoff.ts';
import {
  initialReflectorState,
  type ReflectorEffect,
  type ReflectorInput,
  type ReflectorState,
  stepReflector,
} from './reflector-machine.ts';

export interface ReflectorOptions<T extends KubeObject> {
  client: ApiClient;
  resource: Resource<T>;
  namespace?: string | undefined;
  labelSelector?: string | undefined;
  fieldSelector?: string | undefined;
  /** Try a streaming list first; the server's refusal is remembered. */
  streaming: boolean;
  clock: Clock;
  logger: Logger;
  /** Uniform in [0, 1): spreads watch durations and retries. */
  random: () => number;
  apply(effect: ReflectorEffect<T>): void;
}

const pageSize = 500;
const initialEventsTimeoutMs = 30_000;
/** Shorter at the end than upstream's 30 s: a control plane on one machine is back in seconds. */
const retryBackoff = { initialMs: 800, maxMs: 10_000, jitter: 0.5 };

function whyFailed(error: unknown): 'gone' | 'refused' | 'other' {
  if (isGone(error) || isResourceVersionTooLarge(error)) return 'gone';
  if (isInvalid(error)) return 'refused';
  return error instanceof StatusError && error.httpCode === 400 ? 'refused' : 'other';
}

/** Runs list and watch for ever. Failures are logged and retried; only a throwing `apply` ends it early. */
export async function runReflector<T extends KubeObject>(
  options: ReflectorOptions<T>,
  signal: AbortSignal,
): Promise<void> {
  const { client, resource, clock, logger, random } = options;
  const scope = {
    namespace: options.namespace,
    labelSelector: options.labelSelector,
    fieldSelector: options.fieldSelector,
  };
  let state: ReflectorState<T> = initialReflectorState(options.streaming);

  /** Returns whether the current request goes on. */
  function take(input: ReflectorInput<T>): boolean {
    const step = stepReflector(state, input);
    state = step.state;
    try {
      if (step.effect !== undefined) options.apply(step.effect);
    } catch (cause) {
      throw new HandlerError('a handler of the informer threw', { cause });
    }
    return !step.restart;
  }

  async function readPage(at: ReflectorState<T> & { phase: 'list' }): Promise<void> {
    const fresh = at.continueToken === undefined;
    const page = await client.list(resource, {
      ...scope,
      signal,
      limit: pageSize,
      resourceVersion: fresh ? at.resourceVersion : undefined,
      continue: at.continueToken,
    });
    const { resourceVersion = '', continue: continueToken } = page.metadata;
    take({ type: 'page', items: page.items, resourceVersion, continueToken });
  }

  async function readStream(at: ReflectorState<T> & { phase: 'stream' | 'watch' }): Promise<void> {
    const request = new AbortController();
    const stop = () => request.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    const silence =
      at.phase === 'stream' ? clock.after(initialEventsTimeoutMs, () => request.abort(new SilentServer())) : undefined;
    try {
      const events = client.watch(resource, {
        ...scope,
        signal: request.signal,
        allowWatchBookmarks: true,
        timeoutSeconds: Math.round(300 + random() * 300),
        ...(at.phase === 'watch'
          ? { resourceVersion: at.resourceVersion }
          : { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' as const }),
      });
      for await (const event of events) {
        const goesOn = take({ type: 'event', event });
        if (state.phase === 'watch') silence?.cancel();
        if (!goesOn) return;
      }
      take({ type: 'ended' });
    } finally {
      silence?.cancel();
      signal.removeEventListener('abort', stop);
      request.abort();
    }
  }

  while (!signal.aborted) {
    try {
      await clock.sleep(backoffDelayMs(state.failures, { ...retryBackoff, random }), signal);
      if (state.phase === 'list') await readPage(state);
      else await readStream(state);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof HandlerError) throw error;
      const why = error instanceof SilentServer ? 'refused' : whyFailed(error);
      if (why === 'other') logger.warn({ err: error, phase: state.phase }, `cannot ${state.phase}, will retry`);
      take({ type: 'failed', why });
    }
  }
}

/** The server took a streaming list and never finished its initial events. */
class SilentServer extends Error {
  constructor() {
    super('the server sent no initial-events-end bookmark');
  }
}

/** A broken invariant: handlers must not throw, and what they missed cannot be told again. */
class HandlerError extends Error {}
