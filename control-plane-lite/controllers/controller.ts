// What every controller is made of: shared informers to read from, a client of its own identity to write with,
// and a queue of keys whose `sync` compares what is with what should be.
import type { Logger } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import type { EventRecorder } from '#kube/events/event-recorder.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { WorkQueue } from '#kube/queue/types.ts';
import { createWorkQueue, type QueueObserver } from '#kube/queue/work-queue.ts';
import type { SharedInformers } from './shared-informers.ts';

export interface ControllerContext {
  /** Upstream's name: the service account whose bootstrap role the client has. */
  name: string;
  informers: SharedInformers;
  client: ApiClient;
  recorder: EventRecorder;
  clock: Clock;
  logger: Logger;
  queueObserver?: QueueObserver | undefined;
}

/** Runs after the informers have synced, until the signal is aborted. */
export interface Controller {
  name: string;
  run(signal: AbortSignal): Promise<void>;
}

export type Sync<K> = (key: K, signal: AbortSignal) => Promise<void | { requeueAfterMs: number }>;

/** A queue as controllers use it. The delays after failures are the queue's own where none are given. */
export function createControllerQueue<K = string>(
  context: ControllerContext,
  delays: { baseDelayMs?: number; maxDelayMs?: number } = {},
): WorkQueue<K> {
  const { clock, logger, queueObserver } = context;
  return createWorkQueue<K>({ clock, logger, observer: queueObserver, ...delays });
}

/** A controller whose keys come from `queue` and are worked on by `sync`. */
export function queueController<K>(
  name: string,
  queue: WorkQueue<K>,
  sync: Sync<K>,
  options: { concurrency: number },
): Controller {
  return { name, run: async (signal) => queue.run(sync, { ...options, signal }) };
}

/** `namespace/name` taken apart. */
export function splitKey(key: string): { namespace: string; name: string } {
  const at = key.indexOf('/');
  return at < 0 ? { namespace: '', name: key } : { namespace: key.slice(0, at), name: key.slice(at + 1) };
}
