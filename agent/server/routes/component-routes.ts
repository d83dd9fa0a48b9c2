// /statusz and /flagz: what runs here and how it was started (k8s.io/component-base/zpages). For people, not programs.
import type { FastifyInstance } from 'fastify';

const warning =
  'Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for debugging purposes only.';

export interface ComponentRouteOptions {
  version: string;
  /** Flags as they were given. */
  flags: Readonly<Record<string, string>>;
  startedAtMs: number;
  now(): number;
}

function upTime(ms: number): string {
  const seconds = Math.floor(ms / 1000);
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts[0]} hr ${parts[1]} min ${parts[2]} sec`;
}

/** Registers the routes. */
export function componentRoutes(server: FastifyInstance, options: ComponentRouteOptions): void {
  server.get('/flagz', (_, reply) => {
    const lines = Object.entries(options.flags)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${name}=${value}`);
    return reply.type('text/plain; charset=utf-8').send(`\nkubelet flagz\n${warning}\n\n${lines.join('\n')}\n`);
  });
  server.get('/statusz', (_, reply) => {
    const lines = [
      `Started: ${new Date(options.startedAtMs).toUTCString()}`,
      `Up: ${upTime(options.now() - options.startedAtMs)}`,
      `Node version: ${process.version}`,
      `Binary version: ${options.version.replace(/^v/, '')}`,
      'Paths: /configz /flagz /healthz /metrics',
    ];
    return reply.type('text/plain; charset=utf-8').send(`\nkubelet statusz\n${warning}\n\n${lines.join('\n')}\n`);
  });
}
