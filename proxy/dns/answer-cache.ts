// Answers of the machine's resolvers, kept for as long as their records allow and for half a minute at most.
// Bounded in number and in bytes; what was kept longest goes first.
import type { Clock } from '#kube/process/clock.ts';
import { flagBits, headerBytes, readRecord, recordTypes, responseCodes, skipName } from './parse-query.ts';

const maxEntries = 10_000;
const maxBytes = 16 * 1024 ** 2;
const maxTtlSeconds = 30;

export interface AnswerCache {
  /** A copy with what is left of the times to live; undefined where there is none. */
  get(key: string): Buffer | undefined;
  put(key: string, answer: Buffer): void;
}

interface Times {
  seconds: number;
  /** Where the times to live are written. */
  places: number[];
}

/** How long an answer holds: that nothing is there holds as long as the zone says (RFC 2308). */
export function readTimes(answer: Buffer): Times | undefined {
  const questionEnd = answer.readUInt16BE(4) === 1 ? skipName(answer, headerBytes) : undefined;
  if (questionEnd === undefined) return undefined;
  const answers = answer.readUInt16BE(6);
  const others = answer.readUInt16BE(8) + answer.readUInt16BE(10);
  const places: number[] = [];
  const ttls: number[] = [];
  let at = questionEnd + 4;
  for (let index = 0; index < answers + others; index += 1) {
    const record = readRecord(answer, at);
    if (record === undefined) return undefined;
    at = record.end;
    if (record.type === recordTypes['OPT']) continue;
    places.push(record.ttlAt);
    const ttl = answer.readUInt32BE(record.ttlAt);
    if (index < answers) ttls.push(ttl);
    else if (answers === 0 && record.type === recordTypes['SOA'] && record.end - record.dataAt >= 20) {
      ttls.push(ttl, answer.readUInt32BE(record.end - 4));
    }
  }
  return { seconds: ttls.length === 0 ? 0 : Math.min(maxTtlSeconds, ...ttls), places };
}

/** Failures and answers that were cut are asked for again. */
function isUseful(answer: Buffer): boolean {
  const flags = answer.readUInt16BE(2);
  const code = flags & 0xf;
  return (flags & flagBits.truncated) === 0 && (code === 0 || code === responseCodes.nxDomain);
}

export function createAnswerCache(clock: Clock): AnswerCache {
  const entries = new Map<string, { answer: Buffer; atMs: number; times: Times }>();
  let bytes = 0;
  const drop = (key: string): void => {
    const entry = entries.get(key);
    if (entry === undefined) return;
    bytes -= entry.answer.length;
    entries.delete(key);
  };
  return {
    get: (key) => {
      const entry = entries.get(key);
      if (entry === undefined) return undefined;
      const ageSeconds = Math.floor((clock.monotonicMs() - entry.atMs) / 1000);
      if (ageSeconds >= entry.times.seconds) {
        drop(key);
        return undefined;
      }
      const answer = Buffer.from(entry.answer);
      for (const place of entry.times.places) {
        answer.writeUInt32BE(Math.max(0, answer.readUInt32BE(place) - ageSeconds), place);
      }
      return answer;
    },
    put: (key, answer) => {
      const times = isUseful(answer) ? readTimes(answer) : undefined;
      if (times === undefined || times.seconds === 0) return;
      drop(key);
      entries.set(key, { answer: Buffer.from(answer), atMs: clock.monotonicMs(), times });
      bytes += answer.length;
      while (entries.size > maxEntries || bytes > maxBytes) drop(entries.keys().next().value ?? '');
    },
  };
}
