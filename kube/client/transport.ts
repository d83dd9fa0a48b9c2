// HTTP to the API servers: connection pools, identity, retries, failover. Knows nothing of resources.
import { type Dispatcher, Pool } from 'undici';
import { type Clock, systemClock } from '../process/clock.ts';
import { berthVersion } from '../process/version.ts';
import { bufferedCall, type TextAnswer } from './buffered-call.ts';
import { ClientClosedError, type ClientConfig, ClientConfigError, type Identity } from './config.ts';
import { createRateLimiter } from './rate-limiter.ts';
import { leavesServer, planRetry } from './retry.ts';

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** Path and query. */
  path: string;
  headers?: Record<string, string> | undefined;
  body?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Upper bound of all attempts together. */
  timeoutMs?: number | undefined;
  /** A stream that may stay silent for this long; absent: an ordinary call. */
  idleTimeoutMs?: number | undefined;
}

type AnyAnswer = Pick<TextAnswer, 'statusCode' | 'headers'> & Partial<Pick<TextAnswer, 'bytes'>>;

/** An answer whose body has not been read yet. */
export type HttpAnswer = Pick<Dispatcher.ResponseData, 'statusCode' | 'headers' | 'body'>;

export interface Transport {
  /** Resolves with the first answer that is not to be retried, whatever its code. */
  call(request: HttpRequest): Promise<TextAnswer>;
  /** As `call`, for answers that are read while they arrive. */
  stream(request: HttpRequest & { idleTimeoutMs: number }): Promise<HttpAnswer>;
  close(): Promise<void>;
}

interface Server {
  host: string;
  basePath: string;
  origin: string;
}

const callTimeoutMs = 60_000;
const connectTimeoutMs = 10_000;
/** Where there are others to try, calls with a time limit must have time left for them. */
const connectTimeoutAmongManyMs = 3000;
/** Calls beyond this wait for a connection: more handshakes cost a server more than the wait. */
const maxConnections = 16;
/** Streams on one connection of HTTP/2, where they share; below what servers allow. */
const streamsPerConnection = 200;
/** A stream whose server has gone without a word is noticed this long and ten seconds (libuv's probes) later. */
const keepAliveProbeMs = 15_000;

function serverOf(url: string): Server {
  if (!URL.canParse(url)) throw new ClientConfigError(`API server address ${JSON.stringify(url)} is not a URL`);
  const { origin, host, pathname } = new URL(url);
  return { origin, host, basePath: pathname.replace(/\/$/, '') };
}

/** Keeps one pool per server for calls and one for streams, replaced when the client certificate changes. */
export function createTransport(config: ClientConfig): Transport {
  const clock: Clock = config.clock ?? systemClock;
  const servers = config.servers.map(serverOf);
  const limiter =
    config.qps === undefined ? undefined : createRateLimiter(clock, config.qps, config.burst ?? config.qps);
  const userAgent = `berth/${berthVersion}${config.name === undefined ? '' : ` ${config.name}`}`;
  let closed = false;
  let pools = new Map<string, Pool>();
  let poolsCertificate: string | undefined;
  let preferred = 0;
  if (servers.length === 0) throw new ClientConfigError('no API server address is configured');

  function poolFor(server: Server, streaming: boolean, identity: Identity): Pool {
    const certificate = identity.certificate?.certPem;
    if (certificate !== poolsCertificate) {
      for (const pool of pools.values()) void pool.close();
      pools = new Map();
      poolsCertificate = certificate;
    }
    const key = `${streaming}${server.origin}`;
    const known = pools.get(key);
    if (known !== undefined) return known;
    const isShared = streaming && config.sharesStreams === true;
    const pool = new Pool(server.origin, {
      // A call that is given up takes its connection with it in HTTP/1.1 only: a session of HTTP/2 whose other end is gone
      // would be asked again and again, for as long as the kernel believes in it.
      allowH2: isShared,
      connections: streaming ? null : maxConnections,
      pipelining: isShared ? streamsPerConnection : 1,
      keepAliveTimeout: 30_000,
      connect: {
        timeout: servers.length > 1 ? connectTimeoutAmongManyMs : connectTimeoutMs,
        keepAliveInitialDelay: keepAliveProbeMs,
        ...(config.caPem === undefined ? {} : { ca: config.caPem }),
        ...(config.tlsServerName === undefined ? {} : { servername: config.tlsServerName }),
        rejectUnauthorized: config.insecureSkipTlsVerify !== true,
        ...(identity.certificate === undefined
          ? {}
          : { cert: identity.certificate.certPem, key: identity.certificate.keyPem }),
      },
    });
    pools.set(key, pool);
    return pool;
  }

  /** Calls from now on go to the next server. Of many calls that failed on one server only the first moves on. */
  function leave(tried: number): void {
    if (servers.length > 1 && preferred === tried) preferred = tried + 1;
  }

  /** One attempt on one server: what to send, and the bookkeeping around sending it. */
  async function attempt<A extends AnyAnswer>(
    request: HttpRequest,
    server: Server,
    signal: AbortSignal | undefined,
    send: (pool: Pool, options: Dispatcher.RequestOptions, signal: AbortSignal | undefined) => Promise<A>,
  ): Promise<A> {
    const identity = (await config.credentials?.current(signal)) ?? {};
    const pool = poolFor(server, request.idleTimeoutMs !== undefined, identity);
    const startedMs = clock.monotonicMs();
    const report = (code: string, responseBytes?: number) => {
      const durationMs = clock.monotonicMs() - startedMs;
      const requestBytes = Buffer.byteLength(request.body ?? '');
      const { method } = request;
      config.observer?.finished({ method, host: server.host, code, durationMs, requestBytes, responseBytes });
    };
    const options = {
      method: request.method,
      path: `${server.basePath}${request.path}`,
      headers: {
        'user-agent': userAgent,
        accept: 'application/json',
        ...(identity.authorization === undefined ? {} : { authorization: identity.authorization }),
        ...request.headers,
      },
      body: request.body ?? null,
      headersTimeout: request.timeoutMs ?? callTimeoutMs,
      bodyTimeout: request.idleTimeoutMs ?? callTimeoutMs,
    };
    try {
      const answer = await send(pool, options, signal);
      report(String(answer.statusCode), answer.bytes);
      return answer;
    } catch (error) {
      report('<error>');
      throw error;
    }
  }

  /** Attempts until an answer stands. `discard` is called for answers that do not. */
  async function perform<A extends AnyAnswer>(
    request: HttpRequest,
    send: Parameters<typeof attempt<A>>[3],
    discard: (answer: A) => Promise<void>,
  ): Promise<A> {
    const signals: AbortSignal[] = [];
    if (request.signal !== undefined) signals.push(request.signal);
    if (request.timeoutMs !== undefined) signals.push(AbortSignal.timeout(request.timeoutMs));
    const signal = signals.length > 1 ? AbortSignal.any(signals) : signals[0];
    for (let attempts = 1; ; attempts += 1) {
      signal?.throwIfAborted();
      if (closed) throw new ClientClosedError();
      const startedMs = clock.monotonicMs();
      await limiter?.take(signal);
      const tried = preferred;
      const server = servers[tried % servers.length] ?? servers[0];
      if (server === undefined) throw new ClientConfigError('no API server address is configured');
      if (limiter !== undefined) {
        const waitedMs = clock.monotonicMs() - startedMs;
        config.observer?.limited?.({ method: request.method, host: server.host, waitedMs });
      }
      let answer: A | undefined;
      let failure: unknown;
      try {
        answer = await attempt(request, server, signal, send);
      } catch (error) {
        if (request.signal?.aborted !== true && leavesServer({ failure: error })) leave(tried);
        signal?.throwIfAborted();
        if (closed) throw new ClientClosedError();
        failure = error;
      }
      if (answer !== undefined && leavesServer({ answer: { code: answer.statusCode, headers: answer.headers } }))
        leave(tried);
      const retry = planRetry({
        method: request.method,
        attempts,
        servers: servers.length,
        answer: answer === undefined ? undefined : { code: answer.statusCode, headers: answer.headers },
        failure,
      });
      if (answer?.statusCode === 401) config.credentials?.rejected?.();
      if (retry === undefined) {
        if (answer === undefined) throw failure;
        return answer;
      }
      if (answer !== undefined) await discard(answer);
      if (retry.delayMs > 0) await clock.sleep(retry.delayMs, signal);
    }
  }

  return {
    call: async (request) => perform(request, bufferedCall, async () => undefined),
    stream: async (request) =>
      perform<HttpAnswer>(
        request,
        async (pool, options, signal) => pool.request({ ...options, ...(signal === undefined ? {} : { signal }) }),
        async (answer) => answer.body.dump(),
      ),
    async close() {
      closed = true;
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}
