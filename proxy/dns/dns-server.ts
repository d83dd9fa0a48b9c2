// The cluster DNS server: answers for the cluster domain from the proxy's own informers, over UDP and TCP.
import { createSocket, type Socket as DatagramSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Server } from 'node:net';
import { isIPv6 } from 'node:net';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { BindAddress } from '../config/proxy-config.ts';
import { createResponder, type Respond } from './create-responder.ts';
import { udpLimit } from './encode-answer.ts';
import type { Forward } from './forward.ts';
import type { ClusterNames } from './resolve-name.ts';
import { createTcpServer } from './serve-tcp.ts';

/** Answers that wait for the network beyond this are not sent: their clients ask again. */
const maxQueuedBytes = 4 * 1024 ** 2;
const receiveBufferBytes = 4 * 1024 ** 2;

export interface DnsServerOptions {
  bind: BindAddress;
  /** For example cluster.local. */
  zone: string;
  names: ClusterNames;
  forward: Forward;
  clock: Clock;
  logger: Logger;
}

function serveUdp(socket: DatagramSocket, respond: Respond, logger: Logger): void {
  const send = (answer: Buffer | undefined, port: number, address: string): void => {
    if (answer === undefined || socket.getSendQueueSize() > maxQueuedBytes) return;
    try {
      socket.send(answer, port, address);
    } catch (error) {
      logger.debug({ err: error }, 'cannot send an answer');
    }
  };
  socket.on('message', (packet, { address, port }) => {
    // Nobody listens on port 0: whoever says so has another one answered.
    if (port === 0) return;
    const answer = respond(packet, udpLimit);
    if (answer instanceof Promise) void answer.then((late) => send(late, port, address));
    else send(answer, port, address);
  });
  socket.on('error', (error) => logger.debug({ err: error }, 'cannot send an answer'));
}

async function bindAll(udp: DatagramSocket, tcp: Server, { bind }: DnsServerOptions): Promise<void> {
  try {
    // The event comes at once: there is nothing to look up.
    const isListening = once(udp, 'listening');
    udp.bind(bind.port, bind.host);
    await isListening;
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
      const isSix = isIPv6(options.bind.host);
      const respond = createResponder(options);
      const udp = createSocket({
        type: isSix ? 'udp6' : 'udp4',
        recvBufferSize: receiveBufferBytes,
        // Answers go to addresses, never to names.
        lookup: (address, _, callback) => callback(null, address, isSix ? 6 : 4),
      });
      const tcp = createTcpServer(respond, options.clock);
      const stopped = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => stopped.resolve(), { once: true });
      try {
        await bindAll(udp, tcp.server, options);
        serveUdp(udp, respond, options.logger);
        tcp.server.on('error', (error) => options.logger.warn({ err: error }, 'cannot take a connection'));
        listening.resolve();
        if (!signal.aborted) await stopped.promise;
      } finally {
        udp.close();
        tcp.close();
      }
    },
  };
}
