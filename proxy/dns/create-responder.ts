// Answers one packet with one packet: names of the cluster at once, others by the resolvers of the machine.
// Nothing that a packet holds makes it throw or reject.
import { decode } from 'dns-packet';
import type { Logger } from 'pino';
import { assembleAnswer, type EncodedAnswer, encodeAnswer, encodeCode, encodeName } from './encode-answer.ts';
import type { Forward } from './forward.ts';
import { type DnsQuery, flagBits, headerBytes, parseQuery, recordTypes, responseCodes } from './parse-query.ts';
import { type ClusterNames, type DnsRecord, type Resolution, resolveName, startOfAuthority } from './resolve-name.ts';

/** Aliases of aliases are followed this far. */
const longestChain = 8;
const maxKnown = 10_000;
/** Orders in which one answer's addresses are given in turn, so that clients that take the first do not all take one. */
const maxTurns = 8;
const badVersion = 16;

export interface ResponderOptions {
  /** For example cluster.local. */
  zone: string;
  names: ClusterNames;
  forward: Forward;
  logger: Logger;
}

type Answer = Buffer | undefined | Promise<Buffer | undefined>;

/** `limit`: bytes that may be sent to who asked, a function of the question. `undefined` for what deserves no answer. */
export type Respond = (packet: Buffer, limit: (query: DnsQuery) => number) => Answer;

interface KnownAnswer {
  resolution: Resolution & { kind: 'records' };
  turns: (EncodedAnswer | undefined)[];
  next: number;
}

function rotate<T>(list: readonly T[], by: number): T[] {
  return [...list.slice(by), ...list.slice(0, by)];
}

/** An answer of a resolver, under the id and with the letters of who asked; cut where it does not fit. */
function readdress(query: DnsQuery, answer: Buffer, limitBytes: number): Buffer {
  const { recursionDesired, recursionAvailable, truncated, authoritative } = flagBits;
  if (answer.length > limitBytes) return encodeCode(query, 0, truncated);
  answer.writeUInt16BE(query.id, 0);
  const flags = (answer.readUInt16BE(2) & ~authoritative & ~recursionDesired) | recursionAvailable;
  answer.writeUInt16BE(flags | (query.flags & recursionDesired) | (flags & truncated), 2);
  query.question.copy(answer, headerBytes);
  return answer;
}

/** The addresses and aliases of a resolver's answer. */
function readRecords(answer: Buffer): DnsRecord[] {
  const records: DnsRecord[] = [];
  for (const { name, type, ttl = 0, data } of decode(answer).answers ?? []) {
    if ((type === 'A' || type === 'AAAA' || type === 'CNAME') && typeof data === 'string') {
      records.push({ name, type, ttl, data });
    }
  }
  return records;
}

export function createResponder({ names, forward, logger, ...options }: ResponderOptions): Respond {
  const zone = options.zone.toLowerCase().replace(/\.$/, '');
  const known = new Map<string, KnownAnswer>();
  let generation = -1;

  const askOutside = async (name: string, query: DnsQuery): Promise<DnsRecord[]> => {
    const code = Buffer.alloc(4);
    code.writeUInt16BE(recordTypes[query.type] ?? 0, 0);
    code.writeUInt16BE(1, 2);
    try {
      const question = Buffer.concat([encodeName(name), code]);
      const key = `${code.readUInt16BE(0)}/1/${encodeName(name).toString('latin1').toLowerCase()}`;
      return readRecords(await forward({ flags: 0, question, edns: undefined, key }));
    } catch (error) {
      logger.debug({ err: error, name }, 'cannot resolve what an alias stands for');
      return [];
    }
  };

  /**
   * Adds what an alias stands for, inside the cluster or outside: the resolvers of C libraries do not ask again.
   * An alias whose target cannot be found is answered alone.
   */
  const followAlias = async (records: readonly DnsRecord[], query: DnsQuery): Promise<DnsRecord[]> => {
    const answers = [...records];
    const met = new Set<string>();
    while (met.size < longestChain) {
      const last = answers.at(-1);
      if (last?.type !== 'CNAME' || query.type === 'CNAME') break;
      const name = last.data.toLowerCase().replace(/\.$/, '');
      if (met.has(name)) break;
      met.add(name);
      const target = resolveName(names, { name, type: query.type }, zone);
      if (target.kind === 'records') answers.push(...target.records);
      if (target.kind === 'outside' && recordTypes[query.type] !== undefined) {
        answers.push(...(await askOutside(name, query)));
      }
      if (target.kind !== 'records') break;
    }
    return answers;
  };

  const encodeRecords = (query: DnsQuery, answers: readonly DnsRecord[], additionals: readonly DnsRecord[] = []) =>
    answers.length === 0
      ? encodeAnswer(query, flagBits.authoritative, { authorities: [startOfAuthority(authorityOf(query))] })
      : encodeAnswer(query, flagBits.authoritative, { answers, additionals });

  /** Reverse names are in a zone of their own. */
  const authorityOf = ({ name }: DnsQuery): string => (name.endsWith(zone) ? zone : name);

  /** Records of the cluster, encoded once until an object changes. */
  const answerKnown = (query: DnsQuery, entry: KnownAnswer): EncodedAnswer => {
    const { resolution, turns } = entry;
    const turn = entry.next % turns.length;
    entry.next = turn + 1;
    const ready = turns[turn] ?? encodeRecords(query, rotate(resolution.records, turn), resolution.additional);
    turns[turn] = ready;
    return ready;
  };

  const forwardQuery = async (query: DnsQuery, limitBytes: number): Promise<Buffer> => {
    try {
      return readdress(query, await forward(query), limitBytes);
    } catch (error) {
      logger.debug({ err: error, name: query.name }, 'cannot resolve a name outside the cluster');
      return encodeCode(query, responseCodes.serverFailure);
    }
  };

  const answerAlias = async (query: DnsQuery, records: readonly DnsRecord[], limitBytes: number): Promise<Buffer> => {
    try {
      return assembleAnswer(query, encodeRecords(query, await followAlias(records, query)), limitBytes);
    } catch (error) {
      logger.debug({ err: error, name: query.name }, 'cannot answer with an alias');
      return encodeCode(query, responseCodes.serverFailure);
    }
  };

  const answer = (query: DnsQuery, limitBytes: number): Answer => {
    const now = names.generation();
    if (now !== generation || known.size >= maxKnown) known.clear();
    generation = now;
    const entry = known.get(query.key);
    if (entry !== undefined) return assembleAnswer(query, answerKnown(query, entry), limitBytes);
    const resolution = resolveName(names, query, zone);
    switch (resolution.kind) {
      case 'records': {
        const { records } = resolution;
        if (records.some(({ type }) => type === 'CNAME')) return answerAlias(query, records, limitBytes);
        const turns = new Array<undefined>(Math.max(1, Math.min(records.length, maxTurns))).fill(undefined);
        const added = { resolution, turns, next: 0 };
        known.set(query.key, added);
        return assembleAnswer(query, answerKnown(query, added), limitBytes);
      }
      case 'absent': {
        const flags = flagBits.authoritative | responseCodes.nxDomain;
        const encoded = encodeAnswer(query, flags, { authorities: [startOfAuthority(authorityOf(query))] });
        return assembleAnswer(query, encoded, limitBytes);
      }
      case 'outside':
        return forwardQuery(query, limitBytes);
      default:
        return resolution satisfies never;
    }
  };

  return (packet, limit) => {
    const parsed = parseQuery(packet);
    if (parsed === undefined) return undefined;
    if (parsed.kind === 'refusal') return encodeCode(parsed, parsed.code);
    const { query } = parsed;
    if ((query.edns?.version ?? 0) > 0) return encodeCode(query, badVersion);
    try {
      return answer(query, limit(query));
    } catch (error) {
      logger.debug({ err: error, name: query.name }, 'cannot answer a question');
      return encodeCode(query, responseCodes.serverFailure);
    }
  };
}
