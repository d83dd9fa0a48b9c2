// Decides what becomes of an event: a new object, one more count on an earlier one, part of an aggregate, or nothing.
// Rules and numbers are upstream's (client-go tools/record): 10 similar in 10 minutes are combined; 25 at once per
// source and object, then one every 5 minutes. Pure but for its own memory; time is passed in.
import type { Event, ObjectReference } from '../api/generated/core-v1.ts';

const maxSimilar = 10;
const similarWindowMs = 600_000;
const spamBurst = 25;
const spamRefillMs = 300_000;
const maxRemembered = 4096;

/** An event before it has a name. */
export interface EventFacts {
  object: ObjectReference;
  type: string;
  reason: string;
  message: string;
}

/** What to send. `earlier` is set when an event that exists gets one more count. */
export interface CorrelatedEvent {
  /** Under which the outcome is remembered. */
  key: string;
  message: string;
  count: number;
  earlier: { name: string; firstTimestamp: string } | undefined;
}

interface Remembered {
  name: string;
  firstTimestamp: string;
  count: number;
}

export interface EventCorrelator {
  /** Undefined: this source says too much about this object; drop it. */
  correlate(facts: EventFacts, nowMs: number): CorrelatedEvent | undefined;
  /** The server's answer to what `correlate` asked to send. */
  sent(key: string, event: Event): void;
  /** The event that was counted on is gone. */
  lost(key: string): void;
}

/** A map that forgets what was used least recently. */
function createMemory<V>(): {
  get(key: string): V | undefined;
  set(key: string, value: V): void;
  delete(key: string): void;
} {
  const entries = new Map<string, V>();
  return {
    get(key) {
      const value = entries.get(key);
      if (value !== undefined) {
        entries.delete(key);
        entries.set(key, value);
      }
      return value;
    },
    set(key, value) {
      entries.delete(key);
      entries.set(key, value);
      if (entries.size > maxRemembered) {
        const oldest = entries.keys().next();
        if (oldest.done !== true) entries.delete(oldest.value);
      }
    },
    delete: (key) => {
      entries.delete(key);
    },
  };
}

function objectPart({ kind, namespace, name, uid, apiVersion, fieldPath }: ObjectReference): string {
  return [kind, namespace, name, uid, apiVersion, fieldPath].join('\u0000');
}

/** One per source (component and host). */
export function createEventCorrelator(): EventCorrelator {
  const similar = createMemory<{ messages: Set<string>; lastMs: number }>();
  const buckets = createMemory<{ tokens: number; countedMs: number }>();
  const observed = createMemory<Remembered>();

  function passesSpamFilter(object: ObjectReference, nowMs: number): boolean {
    const key = objectPart(object);
    const bucket = buckets.get(key) ?? { tokens: spamBurst, countedMs: nowMs };
    bucket.tokens = Math.min(spamBurst, bucket.tokens + (nowMs - bucket.countedMs) / spamRefillMs);
    bucket.countedMs = nowMs;
    buckets.set(key, bucket);
    if (bucket.tokens < 1) return false;
    bucket.tokens -= 1;
    return true;
  }

  /** The key of a group of similar events, and whether it is full, so that its members are combined. */
  function group(facts: EventFacts, nowMs: number): { key: string; combined: boolean } {
    const key = [objectPart(facts.object), facts.type, facts.reason].join('\u0000');
    let record = similar.get(key);
    if (record === undefined || nowMs - record.lastMs > similarWindowMs)
      record = { messages: new Set(), lastMs: nowMs };
    record.messages.add(facts.message);
    record.lastMs = nowMs;
    const combined = record.messages.size >= maxSimilar;
    if (combined) {
      const oldest = record.messages.values().next();
      if (oldest.done !== true) record.messages.delete(oldest.value);
    }
    similar.set(key, record);
    return { key, combined };
  }

  return {
    correlate(facts, nowMs) {
      const { key: groupKey, combined } = group(facts, nowMs);
      const key = combined ? groupKey : `${groupKey}\u0000${facts.message}`;
      const message = combined ? `(combined from similar events): ${facts.message}` : facts.message;
      if (!passesSpamFilter(facts.object, nowMs)) return undefined;
      const earlier = observed.get(key);
      if (earlier === undefined) return { key, message, count: 1, earlier: undefined };
      earlier.count += 1;
      return { key, message, count: earlier.count, earlier };
    },
    sent(key, event) {
      const { name } = event.metadata;
      observed.set(key, { name, firstTimestamp: event.firstTimestamp ?? '', count: event.count ?? 1 });
    },
    lost: (key) => observed.delete(key),
  };
}
