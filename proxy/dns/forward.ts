// Passes questions about names outside the cluster on to the machine's own resolvers. Whoever asks what is being asked
// already waits for the same answer: a resolver that asks us back gets nothing multiplied.
import { randomInt } from 'node:crypto';
import type { Clock } from '#kube/process/clock.ts';
import { type AnswerCache, createAnswerCache } from './answer-cache.ts';
import { askServer } from './ask-server.ts';
import { encodeQuestion } from './encode-answer.ts';
import { type DnsQuery, responseCodes } from './parse-query.ts';

const maxInFlight = 1000;
/** A server that failed is asked last for this long. */
const avoidMs = 5000;

export interface ForwarderOptions {
  nameservers(): Promise<string[]>;
  clock: Clock;
  /** Other than 53 in tests. */
  port?: number;
  cache?: AnswerCache;
}

export type Forwarded = Pick<DnsQuery, 'flags' | 'question' | 'edns' | 'key'>;

/** Answers under no particular id. Rejects when no resolver answers. */
export type Forward = (query: Forwarded) => Promise<Buffer>;

function isFailure(answer: Buffer): boolean {
  const code = answer.readUInt16BE(2) & 0xf;
  const { serverFailure, notImplemented, refused } = responseCodes;
  return code === serverFailure || code === notImplemented || code === refused;
}

export function createForwarder(options: ForwarderOptions): Forward {
  const { nameservers, clock, port = 53 } = options;
  const cache = options.cache ?? createAnswerCache(clock);
  const inFlight = new Map<string, Promise<Buffer>>();
  const failedAtMs = new Map<string, number>();

  /** Asks each server in turn until one answers; the refusal of all is an answer too. */
  const ask = async (query: Forwarded): Promise<Buffer> => {
    const servers = await nameservers();
    const hasFailed = (address: string): boolean =>
      clock.monotonicMs() - (failedAtMs.get(address) ?? Number.NEGATIVE_INFINITY) < avoidMs;
    for (const address of failedAtMs.keys()) if (!hasFailed(address)) failedAtMs.delete(address);
    const inOrder = [...servers.filter((each) => !hasFailed(each)), ...servers.filter(hasFailed)];
    let refusal: Buffer | undefined;
    let last: unknown = new Error('the machine has no resolvers: /etc/resolv.conf names none, or only this one');
    for (const address of inOrder) {
      const packet = encodeQuestion(query, randomInt(2 ** 16));
      try {
        const answer = await askServer({ packet, question: query.question, address, port, clock });
        if (!isFailure(answer)) return answer;
        refusal = answer;
      } catch (error) {
        last = error;
        failedAtMs.set(address, clock.monotonicMs());
      }
    }
    if (refusal !== undefined) return refusal;
    throw last;
  };

  return async (query) => {
    const { edns } = query;
    const key = `${query.key}/${edns === undefined ? '' : `e${Number(edns.dnssecOk)}`}/${query.flags & 0x10}`;
    const known = cache.get(key);
    if (known !== undefined) return known;
    const already = inFlight.get(key);
    if (already !== undefined) return Buffer.from(await already);
    if (inFlight.size >= maxInFlight) throw new Error(`${maxInFlight} questions wait for resolvers already`);
    const asking = ask(query);
    inFlight.set(key, asking);
    try {
      const answer = await asking;
      cache.put(key, answer);
      return Buffer.from(answer);
    } finally {
      inFlight.delete(key);
    }
  };
}
