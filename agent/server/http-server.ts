// The agent's servers: HTTPS for the API server and for scrapers, plain HTTP on loopback for health checks. Every
// request, upgrades included, is authenticated and authorized before a route sees it.
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import { UsageError } from '#kube/process/flags.ts';
import type { ServerSettings } from '../config/settings.ts';
import { secureOptions } from '../config/tls-settings.ts';
import type { Authenticate } from './authenticate.ts';
import type { Authorize } from './authorize.ts';
import { ContainerLogError } from './node-view.ts';
import type { ServingCertificate } from './serving-certificate.ts';
import { refuseUpgrade } from './upgrade-proxy.ts';

export interface HttpServerOptions {
  settings: ServerSettings;
  certificate: ServingCertificate;
  /** Called with what shows another certificate to connections from then on. */
  replaceable?: ((replace: (certificate: ServingCertificate) => void) => void) | undefined;
  authenticate: Authenticate;
  authorize: Authorize;
  /** Adds the routes. */
  routes(server: FastifyInstance): void;
  /** Serves an upgrade request; false when there is nothing at its path. */
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<boolean>;
  /** Told every answered request. */
  observe(request: { method: string; path: string; status: number; durationMs: number }): void;
  /** Told every request that is answered later. */
  requestStarted?: ((request: { method: string; path: string }) => void) | undefined;
  logger: Logger;
}

/** Clients that are slow to ask are cut off. */
const limits = { headersTimeout: 10_000, connectionsCheckingInterval: 2000, maxHeaderSize: 32 * 1024 };
const requestTimeoutMs = 20_000;
/** Connections at once: several for each of the most pods there are, and those of scrapers and API servers. */
const maxConnections = 2000;
/** No request has anything to say in its body. */
const bodyLimitBytes = 64 * 1024;

/**
 * The path by which rights are asked for. One that readers might take for different things (dots, empty parts, another
 * host) counts as none of those for which a lesser right would do.
 */
export function plainPath(target: string): string {
  const [path = '/'] = target.split('?', 1);
  if (!path.startsWith('/') || path.includes('//') || !URL.canParse(path, 'http://localhost')) return '/';
  return new URL(path, 'http://localhost').pathname === path ? path : '/';
}

/** Why a request is refused: a status and its text. */
async function refusal(
  { authenticate, authorize }: HttpServerOptions,
  request: IncomingMessage,
): Promise<{ status: number; reason: string; text: string } | undefined> {
  const caller = await authenticate(request);
  if (caller === undefined) return { status: 401, reason: 'Unauthorized', text: 'Unauthorized' };
  const text = await authorize(caller, request.method ?? 'GET', plainPath(request.url ?? '/'));
  return text === undefined ? undefined : { status: 403, reason: 'Forbidden', text };
}

async function listen(server: FastifyInstance, what: string, host: string, port: number): Promise<void> {
  try {
    await server.listen({ host, port });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      throw new UsageError(`port ${port} on ${host} is in use: stop what listens there, or choose another ${what}`, {
        cause: error,
      });
    }
    throw error;
  }
}

/** Builds the HTTPS server and starts it. */
export async function startHttpsServer(options: HttpServerOptions): Promise<FastifyInstance> {
  const { settings, certificate, logger } = options;
  const ca = settings.clientCaFile === undefined ? undefined : await readFile(settings.clientCaFile);
  const tls = {
    ...(ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: false }),
    minVersion: settings.tlsMinVersion,
    secureOptions,
    ...(settings.ciphers === undefined ? {} : { ciphers: settings.ciphers }),
    ...(settings.curves === undefined ? {} : { ecdhCurve: settings.curves }),
  };
  const server = fastify({
    https: { ...certificate, ...tls, ...limits, handshakeTimeout: limits.headersTimeout },
    // Until the request is there; answers that stream take as long as they do.
    requestTimeout: requestTimeoutMs,
    forceCloseConnections: true,
    exposeHeadRoutes: false,
    bodyLimit: bodyLimitBytes,
    // A path that cannot be decoded leads to no route, and past the hooks: its sender is asked for all the same.
    frameworkErrors(error, request, reply) {
      reply.hijack();
      const answer = (status: number, text: string) =>
        reply.raw.writeHead(status, { 'content-type': 'text/plain', connection: 'close' }).end(text);
      void refusal(options, request.raw).then(
        (refused) => answer(refused?.status ?? error.statusCode ?? 400, refused?.text ?? `${error.message}\n`),
        (failure: unknown) => {
          logger.warn({ err: failure, path: request.url }, 'a request failed');
          answer(500, 'Internal Server Error\n');
        },
      );
    },
  });
  // No route reads a body: whatever is sent, within the limit, is taken and left alone.
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_, body, done) => done(null, body));
  server.addHook('onRequest', async (request, reply) => {
    options.requestStarted?.({ method: request.method, path: request.routeOptions.url ?? '' });
    const refused = await refusal(options, request.raw);
    if (refused !== undefined) await reply.code(refused.status).type('text/plain').send(refused.text);
  });
  server.addHook('onResponse', async (request, reply) => {
    const path = request.routeOptions.url ?? '';
    options.observe({ method: request.method, path, status: reply.statusCode, durationMs: reply.elapsedTime });
  });
  server.setErrorHandler((error, request, reply) => {
    // What fastify refuses by itself has a status, such as a body that is too large.
    const refused = (error as { statusCode?: number }).statusCode ?? 500;
    const status = error instanceof ContainerLogError ? error.status : refused;
    if (status === 500) logger.warn({ err: error, path: request.url }, 'a request failed');
    return reply
      .code(status)
      .type('text/plain')
      .send(`${(error as Error).message}\n`);
  });
  options.routes(server);
  server.server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy());
    void (async () => {
      const refused = await refusal(options, request);
      if (refused !== undefined) refuseUpgrade(socket, refused.status, refused.reason, refused.text);
      else if (!(await options.upgrade(request, socket, head))) {
        refuseUpgrade(socket, 404, 'Not Found', '404 page not found\n');
      }
    })().catch((error: unknown) => {
      logger.warn({ err: error, path: request.url }, 'an upgrade request failed');
      refuseUpgrade(socket, 500, 'Internal Server Error', (error as Error).message);
    });
  });
  server.server.maxConnections = maxConnections;
  options.replaceable?.((next) => server.server.setSecureContext({ ...next, ...tls }));
  await listen(server, 'port', settings.address, settings.port);
  return server;
}

function plainServer(): FastifyInstance {
  const server = fastify({ http: limits, requestTimeout: requestTimeoutMs, forceCloseConnections: true });
  server.server.maxConnections = maxConnections;
  return server;
}

/** Starts the server without authentication, where one is asked for: pods and metrics, to look at only. */
export async function startReadOnlyServer(
  settings: ServerSettings,
  routes: (server: FastifyInstance) => void,
): Promise<FastifyInstance | undefined> {
  if (settings.readOnlyPort === 0) return undefined;
  const server = plainServer();
  routes(server);
  await listen(server, 'readOnlyPort', settings.address, settings.readOnlyPort);
  return server;
}

/** Starts the server of health checks. */
export async function startHealthServer(
  settings: ServerSettings,
  routes: (server: FastifyInstance) => void,
): Promise<FastifyInstance | undefined> {
  if (settings.healthzPort === 0) return undefined;
  const server = plainServer();
  routes(server);
  await listen(server, 'healthzPort', settings.healthzAddress, settings.healthzPort);
  return server;
}
