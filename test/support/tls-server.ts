// An HTTPS server of a test on loopback, with an authority of its own: webhooks, and API servers that are aggregated.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { createAuthority, issueLeaf, serverAuth } from '../../control-plane-lite/pki/certificate-authority.ts';

export interface TlsServer {
  port: number;
  /** PEM in base64, as configurations have it. */
  caBundle: string;
  server: Server;
  close(): Promise<void>;
}

export interface TlsServerOptions {
  /** Names of the certificate beside 127.0.0.1 and localhost. */
  names?: readonly string[];
  /** Address to listen on; absent: 127.0.0.1. */
  host?: string;
  /** Authority that clients' certificates are asked to be of. */
  clientCaPem?: string;
  handle(request: IncomingMessage, response: ServerResponse, body: string): void | Promise<void>;
}

/** The common name of the certificate that a client showed, or empty. */
export function clientNameOf(request: IncomingMessage): string {
  const socket = request.socket as TLSSocket;
  return socket.authorized ? String(socket.getPeerCertificate().subject?.CN ?? '') : '';
}

/** Starts a server; close it in the test's end. */
export async function startTlsServer(options: TlsServerOptions): Promise<TlsServer> {
  const authority = await createAuthority('test-authority', Date.now());
  const dnsNames = ['localhost', ...(options.names ?? [])];
  const leaf = await issueLeaf(
    authority,
    { commonName: 'test-server', usages: [serverAuth], dnsNames, ipAddresses: ['127.0.0.1'] },
    Date.now(),
  );
  const server = createServer(
    {
      cert: leaf.certPem,
      key: leaf.keyPem,
      ...(options.clientCaPem === undefined
        ? {}
        : { ca: options.clientCaPem, requestCert: true, rejectUnauthorized: false }),
    },
    (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part: Buffer) => parts.push(part));
      request.on('end', () => {
        void (async () => {
          try {
            await options.handle(request, response, Buffer.concat(parts).toString());
          } catch (error) {
            response.writeHead(500).end(String(error));
          }
        })();
      });
    },
  );
  await new Promise<void>((resolve) => server.listen(0, options.host ?? '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    caBundle: Buffer.from(authority.certPem).toString('base64'),
    server,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Answers with JSON. */
export function answerJson(response: ServerResponse, body: unknown, code = 200): void {
  response.writeHead(code, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}
