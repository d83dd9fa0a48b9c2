// The HTTPS server: authenticates, authorizes, dispatches, answers every failure as a Status, drains when stopped.
// It is node:https without a framework: paths are parsed as the API prescribes and not matched against a route
// table, and bodies and answers are bytes.

import { constants } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import type { Logger } from 'pino';
import type { Component } from '#kube/process/component.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { KeyPair } from '../pki/certificate-authority.ts';
import { createHttp2Requests, type Http2Requests } from './http/http2-requests.ts';

export interface ServerOptions {
  bindAddress: string;
  port: number;
  serving: KeyPair;
  /** Verifies client certificates. */
  clientCaPem: string;
  handle(request: IncomingMessage, response: ServerResponse): Promise<void>;
  /** Requests with an Upgrade header. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  logger: Logger;
  /** Called with the port in use once the server listens. */
  listening?(port: number): void;
}

const drainMs = 3000;
const sweepMs = 20;
const maxHeaderBytes = 64 * 1024;
/** A peer that is gone without a word is noticed, and its watches end. */
const keepAliveProbeMs = 30_000;

function listen(server: Server, options: ServerOptions): Promise<number> {
  const { bindAddress, port } = options;
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where = `${bindAddress}:${port}`;
      const reason =
        error.code === 'EADDRINUSE'
          ? `cannot listen on ${where}: the port is in use; stop what uses it or choose another --secure-port`
          : `cannot listen on ${where}: ${error.message}`;
      reject(new UsageError(reason, { cause: error }));
    });
    server.listen(port, bindAddress, () => {
      const address = server.address();
      resolve(typeof address === 'object' && address !== null ? address.port : port);
    });
  });
}

function untilAborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

/** Connections whose client chose HTTP/2 go to its own server; all others stay. */
function divideByProtocol(server: Server, http2: Http2Requests): void {
  const http1 = server.listeners('secureConnection') as ((socket: TLSSocket) => void)[];
  server.removeAllListeners('secureConnection');
  server.on('secureConnection', (socket: TLSSocket) => {
    socket.setKeepAlive(true, keepAliveProbeMs);
    if (socket.alpnProtocol === 'h2') http2.take(socket);
    else for (const listener of http1) listener.call(server, socket);
  });
}

/** The server as a component: ready when it listens, done when its connections are closed. */
export function createHttpsServer(options: ServerOptions): Component {
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  return {
    ready: ready.promise,
    run: async (signal) => {
      const server = createServer(
        {
          key: options.serving.keyPem,
          cert: options.serving.certPem,
          ca: options.clientCaPem,
          requestCert: true,
          rejectUnauthorized: false,
          minVersion: 'TLSv1.2',
          ALPNProtocols: ['h2', 'http/1.1'],
          // A resumed session would lose the verdict on the client's certificate.
          secureOptions: constants.SSL_OP_NO_TICKET,
          keepAliveTimeout: 90_000,
          headersTimeout: 30_000,
          requestTimeout: 60_000,
          maxHeaderSize: maxHeaderBytes,
        },
        (request, response) => void options.handle(request, response),
      );
      const http2 = createHttp2Requests(options.handle, maxHeaderBytes);
      divideByProtocol(server, http2);
      server.on('upgrade', options.upgrade);
      server.on('tlsClientError', (error) => options.logger.debug({ err: error }, 'a TLS handshake failed'));
      try {
        options.listening?.(await listen(server, options));
      } catch (error) {
        ready.reject(error);
        throw error;
      }
      ready.resolve();
      await untilAborted(signal);
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      // Streams end by themselves when the server stops; their connections are idle a moment later.
      http2.drain();
      const sweep = setInterval(() => server.closeIdleConnections(), sweepMs);
      const cut = setTimeout(() => {
        server.closeAllConnections();
        http2.cut();
      }, drainMs);
      await closed;
      clearInterval(sweep);
      clearTimeout(cut);
    },
  };
}
