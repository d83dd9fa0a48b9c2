// The two HTTP servers of the proxy: health for load balancers, metrics and facts for operators.
import { type FastifyInstance, fastify } from 'fastify';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { BindAddress } from '../config/proxy-config.ts';

export interface HealthFacts {
  /** Milliseconds since the epoch of the last sync and of the last change; 0 for never. */
  lastSyncMs(): number;
  lastPendingMs(): number;
  /** False while the node is being deleted: load balancers should drain it. */
  nodeEligible(): boolean;
}

export interface HealthServerOptions {
  health: BindAddress;
  metrics: BindAddress;
  facts: HealthFacts;
  mode: string;
  /** When the rules of services were applied, of all or of one. */
  programmed(serviceKey?: string): unknown;
  /** How long rules may lag behind a change before the proxy is unhealthy. */
  timeoutMs: number;
  renderMetrics(): Promise<{ contentType: string; body: string }>;
  /** The whole configuration, for /configz. */
  config: unknown;
  clock: Clock;
  /** Told of each answer of the health server. */
  answered?(path: 'healthz' | 'livez', code: number): void;
}

/** Healthy when something was synced, and changes are not older than the timeout. */
export function isHealthy(facts: HealthFacts, nowMs: number, timeoutMs: number): boolean {
  const synced = facts.lastSyncMs();
  if (synced === 0) return false;
  const pending = facts.lastPendingMs();
  return pending <= synced || nowMs - pending < timeoutMs;
}

function createHealthApp({ facts, clock, timeoutMs, answered }: HealthServerOptions): FastifyInstance {
  const app = fastify();
  const answer = (nowMs: number) => ({
    lastUpdated: new Date(facts.lastSyncMs() || nowMs).toISOString(),
    currentTime: new Date(nowMs).toISOString(),
    nodeEligible: facts.nodeEligible(),
  });
  app.get('/healthz', (_request, reply) => {
    const nowMs = clock.now();
    const code = isHealthy(facts, nowMs, timeoutMs) && facts.nodeEligible() ? 200 : 503;
    answered?.('healthz', code);
    return reply.code(code).send(answer(nowMs));
  });
  app.get('/livez', (_request, reply) => {
    const nowMs = clock.now();
    const code = isHealthy(facts, nowMs, timeoutMs) ? 200 : 503;
    answered?.('livez', code);
    return reply.code(code).send(answer(nowMs));
  });
  return app;
}

function createMetricsApp(options: HealthServerOptions): FastifyInstance {
  const app = fastify();
  app.get('/metrics', async (_request, reply) => {
    const { contentType, body } = await options.renderMetrics();
    return reply.type(contentType).send(body);
  });
  app.get('/proxyMode', (_request, reply) => reply.type('text/plain').send(options.mode));
  app.get<{ Querystring: { service?: string } }>('/programmed', (request) => options.programmed(request.query.service));
  app.get('/healthz', (_request, reply) => reply.type('text/plain').send('ok'));
  app.get('/configz', () => ({ 'kubeproxy.config.k8s.io': options.config }));
  return app;
}

async function listen(app: FastifyInstance, { host, port }: BindAddress, what: string): Promise<void> {
  try {
    await app.listen({ host: host === '' ? '::' : host, port });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'EADDRINUSE') throw error;
    throw new UsageError(`port ${port} for ${what} is in use: stop what listens there or choose another`, {
      cause: error,
    });
  }
}

/** Listens until the signal is aborted. A port of 0 leaves a server out. */
export function createHealthServer(options: HealthServerOptions): Component {
  const listening = Promise.withResolvers<void>();
  return {
    ready: listening.promise,
    run: async (signal) => {
      const health = createHealthApp(options);
      const metrics = createMetricsApp(options);
      try {
        if (options.health.port !== 0) await listen(health, options.health, 'healthz');
        if (options.metrics.port !== 0) await listen(metrics, options.metrics, 'metrics');
        listening.resolve();
        const stopped = Promise.withResolvers<void>();
        signal.addEventListener('abort', () => stopped.resolve(), { once: true });
        if (!signal.aborted) await stopped.promise;
      } finally {
        await Promise.all([health.close(), metrics.close()]);
      }
    },
  };
}
