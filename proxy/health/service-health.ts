// A server on the healthCheckNodePort of each service that has one: tells load balancers whether this node has
// endpoints of it. Answers are kube-proxy's.
import { type FastifyInstance, fastify } from 'fastify';
import type { Logger } from 'pino';
import type { Component } from '#kube/process/component.ts';

/** What a health check port says of a service. */
export interface ServiceHealth {
  serviceKey: string;
  port: number;
  /** Ready endpoints on this node. */
  localEndpoints: number;
}

export interface ServiceHealthOptions {
  /** Addresses to listen on. */
  hosts: readonly string[];
  /** False when rules are too old to say anything. */
  proxyHealthy(): boolean;
  logger: Logger;
}

export interface ServiceHealthServers extends Pick<Component, 'run'> {
  /** Sets what is said of a service; undefined for one that needs no server. */
  set(serviceKey: string, health: ServiceHealth | undefined): void;
}

interface Running {
  port: number;
  apps: FastifyInstance[];
}

/** Servers follow `set` while `run` runs. */
export function createServiceHealthServers({
  hosts,
  proxyHealthy,
  logger,
}: ServiceHealthOptions): ServiceHealthServers {
  const wanted = new Map<string, ServiceHealth>();
  const running = new Map<string, Running>();
  let changes: Promise<void> = Promise.resolve();
  let active = false;

  function createApp(serviceKey: string): FastifyInstance {
    const app = fastify();
    const [namespace = '', name = ''] = serviceKey.split('/');
    app.get('/*', (_request, reply) => {
      const localEndpoints = wanted.get(serviceKey)?.localEndpoints ?? 0;
      const serviceProxyHealthy = proxyHealthy();
      return reply
        .code(localEndpoints > 0 && serviceProxyHealthy ? 200 : 503)
        .header('X-Content-Type-Options', 'nosniff')
        .header('X-Load-Balancing-Endpoint-Weight', `${localEndpoints}`)
        .send({ service: { namespace, name }, localEndpoints, serviceProxyHealthy });
    });
    return app;
  }

  async function start(serviceKey: string, port: number): Promise<void> {
    const apps: FastifyInstance[] = [];
    running.set(serviceKey, { port, apps });
    for (const host of hosts) {
      const app = createApp(serviceKey);
      try {
        await app.listen({ host, port });
        apps.push(app);
      } catch (error) {
        await app.close();
        logger.error(
          { err: error, service: serviceKey, host, port },
          'cannot serve the health check port of a service',
        );
      }
    }
  }

  async function stop(serviceKey: string): Promise<void> {
    const { apps = [] } = running.get(serviceKey) ?? {};
    running.delete(serviceKey);
    await Promise.all(apps.map((app) => app.close()));
  }

  async function follow(serviceKey: string): Promise<void> {
    const port = wanted.get(serviceKey)?.port;
    const current = running.get(serviceKey)?.port;
    if (!active || port === current) return;
    if (current !== undefined) await stop(serviceKey);
    if (port !== undefined) await start(serviceKey, port);
  }

  return {
    set: (serviceKey, health) => {
      if (health === undefined) wanted.delete(serviceKey);
      else wanted.set(serviceKey, health);
      if (!active || health?.port === running.get(serviceKey)?.port) return;
      changes = changes.then(() => follow(serviceKey));
    },
    run: async (signal) => {
      active = true;
      for (const serviceKey of wanted.keys()) changes = changes.then(() => follow(serviceKey));
      const stopped = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => stopped.resolve(), { once: true });
      if (!signal.aborted) await stopped.promise;
      active = false;
      await changes;
      await Promise.all([...running.keys()].map(stop));
    },
  };
}
