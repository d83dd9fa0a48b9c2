// Answers of the machine's resolvers, kept for as long as their records allow and for half a minute at most.
import { decode, type Packet, TRUNCATED_RESPONSE } from 'dns-packet';
import type { Clock } from '#kube/process/clock.ts';

const maxEntries = 2000;
const maxTtlSeconds = 30;

export interface AnswerCache {
  /** An answer under the id of the question; undefined where there is none. */
  get(query: Buffer): Buffer | undefined;
  put(query: Buffer, answer: Buffer): void;
}

/** A question without its id: flags, options and all, so that nobody gets what another client asked for. */
function keyOf(query: Buffer): string {
  return query.toString('latin1', 2).toLowerCase();
}

/** How long an answer holds: that nothing is there holds as long as the zone says. */
export function ttlSeconds({ answers = [], authorities = [] }: Packet): number {
  const records = answers.length > 0 ? answers : authorities;
  const ttls = records.map(({ ttl }) => ttl ?? 0);
  return ttls.length === 0 ? 0 : Math.min(maxTtlSeconds, ...ttls);
}

/** Only what is worth it is kept: failures and answers that were cut are asked for again. */
export function createAnswerCache(clock: Clock): AnswerCache {
  const entries = new Map<string, { answer: Buffer; untilMs: number }>();
  return {
    get: (query) => {
      const key = keyOf(query);
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      if (entry.untilMs <= clock.monotonicMs()) {
        entries.delete(key);
        return undefined;
      }
      const answer = Buffer.from(entry.answer);
      query.copy(answer, 0, 0, 2);
      return answer;
    },
    put: (query, answer) => {
      const packet = decode(answer);
      const isUseful = packet.rcode === 'NOERROR' || packet.rcode === 'NXDOMAIN';
      const isCut = ((packet.flags ?? 0) & TRUNCATED_RESPONSE) !== 0;
      const seconds = isUseful && !isCut ? ttlSeconds(packet) : 0;
      if (seconds === 0) return;
      const oldest = entries.size >= maxEntries ? entries.keys().next().value : undefined;
      if (oldest !== undefined) entries.delete(oldest);
      entries.set(keyOf(query), { answer, untilMs: clock.monotonicMs() + seconds * 1000 });
    },
  };
}
