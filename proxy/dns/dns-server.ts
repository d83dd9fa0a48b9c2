// The cluster DNS responder: answers for the cluster domain from the proxy's own informers, over UDP and TCP.
import { randomInt } from 'node:crypto';
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import {
  AUTHORITATIVE_ANSWER,
  decode,
  encode,
  type Packet,
  RECURSION_AVAILABLE,
  RECURSION_DESIRED,
  TRUNCATED_RESPONSE,
} from 'dns-packet';
import type { Logger } from 'pino';
import type { Component } from '#kube/process/component.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { BindAddress } from '../config/proxy-config.ts';
import type { AnswerCache } from './answer-cache.ts';
import { forwardQuery } from './forward.ts';
import { type ClusterNames, type DnsRecord, resolveName } from './resolve-name.ts';

type Answer = NonNullable<Packet['answers']>[number];

const plainUdpBytes = 512;
const idleTcpMs = 10_000;
const negativeTtl = 5;

export interface DnsServerOptions {
  bind: BindAddress;
  /** For example cluster.local. */
  zone: string;
  names: ClusterNames;
  nameservers(): Promise<string[]>;
  /** Of answers from outside; none are kept where absent. */
  cache?: AnswerCache;
  logger: Logger;
}

function soa(zone: string): NonNullable<Packet['authorities']>[number] {
  const data = {
    mname: `ns.dns.${zone}`,
    rname: `hostmaster.${zone}`,
    serial: 1,
    refresh: 7200,
    retry: 1800,
    expire: 86400,
    minimum: negativeTtl,
  };
  return { name: zone, type: 'SOA', ttl: negativeTtl, data };
}

/** Aliases of aliases are followed this far. */
const longestChain = 8;

/**
 * Adds what an alias stands for, inside the cluster or outside: the resolvers of C libraries do not ask again.
 * An alias whose target cannot be found is answered alone.
 */
async function followAlias(
  records: readonly DnsRecord[],
  { type }: { type: string },
  options: Omit<DnsServerOptions, 'bind'>,
): Promise<Answer[]> {
  const answers: Answer[] = [...records];
  for (let length = 0; length < longestChain; length += 1) {
    const last = answers.at(-1);
    if (last?.type !== 'CNAME' || type === 'CNAME') break;
    const name = String(last.data);
    const target = resolveName(options.names, { name, type }, options.zone);
    if (target.kind === 'records') answers.push(...target.records);
    if (target.kind === 'records' && target.records.length > 0) continue;
    if (target.kind === 'outside') answers.push(...(await askOutside(name, type, options)));
    break;
  }
  return answers;
}

async function askOutside(name: string, type: string, options: Omit<DnsServerOptions, 'bind'>): Promise<Answer[]> {
  const query = encode({
    id: randomInt(2 ** 16),
    type: 'query',
    flags: RECURSION_DESIRED,
    questions: [{ name, type }],
  });
  try {
    return decode(await forwardQuery(query, await options.nameservers())).answers ?? [];
  } catch (error) {
    options.logger.debug({ err: error, name }, 'cannot resolve what an alias stands for');
    return [];
  }
}

/** The answer to one packet; undefined for what deserves none. */
export async function answerQuery(bytes: Buffer, options: Omit<DnsServerOptions, 'bind'>): Promise<Buffer | undefined> {
  let query: Packet;
  try {
    query = decode(bytes);
  } catch {
    // Not DNS: the sender may be anyone, and an answer would only serve as an echo.
    return undefined;
  }
  const [question] = query.questions ?? [];
  if (query.type !== 'query' || question === undefined) return undefined;
  const asked = (query.flags ?? 0) & RECURSION_DESIRED;
  const reply = (flags: number, rest: Packet): Buffer => {
    return encode({
      id: query.id ?? 0,
      type: 'response',
      flags: asked | RECURSION_AVAILABLE | flags,
      questions: [question],
      ...rest,
    });
  };
  const resolution = resolveName(options.names, question, options.zone);
  switch (resolution.kind) {
    case 'records': {
      const { additional } = resolution;
      const records = await followAlias(resolution.records, question, options);
      if (records.length === 0) return reply(AUTHORITATIVE_ANSWER, { authorities: [soa(options.zone)] });
      return reply(AUTHORITATIVE_ANSWER, { answers: records, additionals: additional });
    }
    case 'absent':
      return reply(AUTHORITATIVE_ANSWER | nxDomain, { authorities: [soa(options.zone)] });
    case 'outside':
      try {
        const known = options.cache?.get(bytes);
        if (known !== undefined) return known;
        const answer = await forwardQuery(bytes, await options.nameservers());
        options.cache?.put(bytes, answer);
        return answer;
      } catch (error) {
        options.logger.debug({ err: error, name: question.name }, 'cannot resolve a name outside the cluster');
        return reply(serverFailure, {});
      }
    default:
      return resolution satisfies never;
  }
}

/** Response codes are the low bits of the flags. */
const serverFailure = 2;
const nxDomain = 3;

/** Cuts an answer that does not fit, so that the client asks again over TCP. */
export function fitUdp(query: Buffer, answer: Buffer): Buffer {
  let limit = plainUdpBytes;
  for (const { udpPayloadSize } of decode(query).additionals ?? []) limit = Math.max(limit, udpPayloadSize ?? 0);
  if (answer.length <= limit) return answer;
  const { id = 0, flags = 0, questions = [] } = decode(answer);
  return encode({ id, type: 'response', flags: flags | TRUNCATED_RESPONSE, questions });
}

/** Whatever a packet holds, and wherever its answer should go: nothing of it ends the server. */
async function respond(query: Buffer, options: DnsServerOptions, send: (answer: Buffer) => void): Promise<void> {
  try {
    const answer = await answerQuery(query, options);
    if (answer !== undefined) send(answer);
  } catch (error) {
    options.logger.debug({ err: error }, 'cannot answer a question');
  }
}

function serveTcp(socket: Socket, options: DnsServerOptions): void {
  let rest = Buffer.alloc(0);
  socket.setTimeout(idleTcpMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 2 && rest.length >= 2 + rest.readUInt16BE(0)) {
      const end = 2 + rest.readUInt16BE(0);
      const query = rest.subarray(2, end);
      rest = rest.subarray(end);
      void respond(query, options, (answer) => {
        if (socket.destroyed) return;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(answer.length);
        socket.write(Buffer.concat([length, answer]));
      });
    }
  });
}

function serveUdp(socket: DatagramSocket, options: DnsServerOptions): void {
  socket.on('message', (query, { address, port }) => {
    void respond(query, options, (answer) => socket.send(fitUdp(query, answer), port, address));
  });
  // An answer that cannot be sent: its client asks again.
  socket.on('error', (error) => options.logger.debug({ err: error }, 'cannot send an answer'));
}

async function bindAll(udp: DatagramSocket, tcp: Server, { bind }: DnsServerOptions): Promise<void> {
  try {
    udp.bind(bind.port, bind.host);
    await once(udp, 'listening');
    tcp.listen(bind.port, bind.host);
    await once(tcp, 'listening');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE' && code !== 'EADDRNOTAVAIL') throw error;
    throw new UsageError(`cannot serve DNS on ${bind.host}:${bind.port} (${code}): choose another --dns-bind-address`, {
      cause: error,
    });
  }
}

/** Listens until the signal is aborted. */
export function createDnsServer(options: DnsServerOptions): Component {
  const listening = Promise.withResolvers<void>();
  return {
    ready: listening.promise,
    run: async (signal) => {
      const udp = createSocket(options.bind.host.includes(':') ? 'udp6' : 'udp4');
      const tcp = createServer((socket) => serveTcp(socket, options));
      const stopped = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => stopped.resolve(), { once: true });
      try {
        await bindAll(udp, tcp, options);
        serveUdp(udp, options);
        listening.resolve();
        if (!signal.aborted) await stopped.promise;
      } finally {
        udp.close();
        tcp.close();
      }
    },
  };
}
