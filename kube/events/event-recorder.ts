// Writes core/v1 Events about objects. Recording never blocks and never fails the caller: events wait in a bounded
// queue, are sent one at a time, and are dropped when the queue is full.
import type { Logger } from 'pino';
import type { Event, ObjectReference } from '../api/generated/core-v1.ts';
import { events } from '../api/generated/resources.ts';
import { apiVersionOf, type KubeObject, type Resource } from '../api/resource.ts';
import { formatTime } from '../api/time.ts';
import { ClientClosedError } from '../client/config.ts';
import type { ApiClient } from '../client/types.ts';
import { isNamespaceTerminating, isNotFound, StatusError } from '../errors/status-error.ts';
import type { Clock } from '../process/clock.ts';
import { type CorrelatedEvent, createEventCorrelator, type EventFacts } from './correlator.ts';

export interface EventRecorderOptions {
  client: ApiClient;
  /** For example `kubelet` or `default-scheduler`. */
  component: string;
  /** Node name for components of a node, else empty. */
  host: string;
  clock: Clock;
  logger: Logger;
  /** When aborted, events that wait are dropped. */
  signal?: AbortSignal | undefined;
}

export interface EventExtras {
  annotations?: Record<string, string>;
  related?: ObjectReference;
  action?: string;
}

export interface EventRecorder {
  event(
    object: ObjectReference,
    type: 'Normal' | 'Warning',
    reason: string,
    message: string,
    extras?: EventExtras,
  ): void;
  /** Resolves when everything recorded so far was sent or given up. */
  flushed(): Promise<void>;
}

interface PendingEvent extends EventFacts {
  extras: EventExtras;
  atMs: number;
}

const maxWaiting = 10_000;
const maxMessageLength = 1024;
const sendTimeoutMs = 10_000;
const maxTries = 12;
const retryDelayMs = 10_000;

/** A reference to an object whose kind is known from its resource. `fieldPath` names a part: `spec.containers{app}`. */
export function referenceTo(resource: Resource, object: KubeObject, fieldPath?: string): ObjectReference {
  const { namespace, name, uid, resourceVersion } = object.metadata;
  return {
    apiVersion: apiVersionOf(resource),
    kind: resource.kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(fieldPath === undefined ? {} : { fieldPath }),
  };
}

/** Creates a recorder; nothing is sent before the first event. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { client, component, host, clock, logger } = options;
  const correlator = createEventCorrelator();
  let waiting: PendingEvent[] = [];
  let sending: Promise<void> | undefined;
  let lastNanos = 0n;

  /** A suffix that is new each time: nanoseconds since the epoch, in hexadecimal. */
  function uniqueSuffix(nowMs: number): string {
    const nanos = BigInt(Math.floor(nowMs)) * 1_000_000n;
    lastNanos = nanos > lastNanos ? nanos : lastNanos + 1n;
    return lastNanos.toString(16);
  }

  async function write(pending: PendingEvent, correlated: CorrelatedEvent): Promise<Event> {
    const { object, type, reason, extras, atMs } = pending;
    const namespace = object.namespace ?? 'default';
    const time = formatTime(atMs);
    const { message, count, earlier, key } = correlated;
    if (earlier !== undefined) {
      try {
        const patch = { count, lastTimestamp: time, message };
        const target = { namespace, name: earlier.name };
        return await client.patch(events, target, 'strategic', patch, { timeoutMs: sendTimeoutMs });
      } catch (error) {
        if (!isNotFound(error)) throw error;
        correlator.lost(key);
      }
    }
    const draft = {
      metadata: {
        namespace,
        name: `${object.name ?? 'unnamed'}.${uniqueSuffix(atMs)}`,
        ...(extras.annotations === undefined ? {} : { annotations: extras.annotations }),
      },
      involvedObject: object,
      reason,
      message,
      source: { component, ...(host === '' ? {} : { host }) },
      firstTimestamp: earlier?.firstTimestamp ?? time,
      lastTimestamp: time,
      count,
      type,
      reportingComponent: component,
      reportingInstance: host,
      ...(extras.related === undefined ? {} : { related: extras.related }),
      ...(extras.action === undefined ? {} : { action: extras.action }),
    };
    return client.create(events, namespace, draft, { timeoutMs: sendTimeoutMs });
  }

  /** Tries until the server answered one way or the other; an unreachable server is tried for two minutes. */
  async function send(pending: PendingEvent): Promise<void> {
    const correlated = correlator.correlate(pending, pending.atMs);
    if (correlated === undefined) return;
    for (let tries = 1; ; tries += 1) {
      try {
        correlator.sent(correlated.key, await write(pending, correlated));
        return;
      } catch (error) {
        if (options.signal?.aborted === true || error instanceof ClientClosedError) {
          waiting = [];
          return;
        }
        if (error instanceof StatusError || tries >= maxTries) {
          const { reason, message, object } = pending;
          const level = isNamespaceTerminating(error) || isNotFound(error) ? 'debug' : 'warn';
          logger[level]({ err: error, reason, message, object: object.name }, 'event dropped');
          return;
        }
        await clock.sleep(retryDelayMs, options.signal).catch(() => undefined);
      }
    }
  }

  async function sendAll(): Promise<void> {
    // One at a time: a server under load is not loaded further by news about it.
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) await send(next);
    sending = undefined;
  }

  return {
    event(object, type, reason, text, extras = {}) {
      if (waiting.length >= maxWaiting) {
        logger.debug({ reason, object: object.name }, 'event dropped: too many are waiting');
        return;
      }
      const message = text.length > maxMessageLength ? `${text.slice(0, maxMessageLength - 3)}...` : text;
      waiting.push({ object, type, reason, message, extras, atMs: clock.now() });
      sending ??= sendAll();
    },
    flushed: async () => sending,
  };
}
