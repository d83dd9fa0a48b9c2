// Facts about the node for people and tools: pods, configuration, health, commands in containers, the node's logs.
import { createReadStream } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Exec } from '#kube/process/exec.ts';
import type { RuntimeService } from '../../cri/runtime-service.ts';
import { parseNodeLogQuery, readNodeLogs } from '../node-log-query.ts';
import type { NodeView } from '../node-view.ts';

export interface NodeRouteOptions {
  view: NodeView;
  runtime: RuntimeService;
  configuration: Record<string, unknown>;
  /** Undefined when the node is healthy, else which check failed. */
  problem(): string | undefined;
  debuggingHandlers: boolean;
  /** Where the node's own logs lie, where they are served at all. */
  nodeLogsDir: string | undefined;
  /** Runs journalctl, where questions to the logs are answered. */
  logQuery?: Exec | undefined;
}

interface RunPath {
  namespace: string;
  pod: string;
  container: string;
}

function podList(items: unknown[]): unknown {
  return { kind: 'PodList', apiVersion: 'v1', metadata: {}, items };
}

function runningPods(view: NodeView): unknown[] {
  return view
    .allRuntimes()
    .filter(({ containers }) => containers.some(({ state }) => state === 'running'))
    .map(({ name, namespace, uid, containers }) => ({
      metadata: { name, namespace, uid },
      spec: {
        containers: containers
          .filter(({ state }) => state === 'running')
          .map((run) => ({ name: run.name, image: run.imageRef, resources: {} })),
      },
      status: {},
    }));
}

function escapeHtml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}

async function sendNodeLog(root: string, relative: string, reply: FastifyReply): Promise<FastifyReply> {
  const base = await realpath(root);
  const path = await realpath(join(base, relative)).catch(() => undefined);
  if (path === undefined || (path !== base && !path.startsWith(`${base}/`))) {
    return reply.code(404).type('text/plain').send('404 page not found\n');
  }
  if (!(await stat(path)).isDirectory()) return reply.type('text/plain').send(createReadStream(path));
  const entries = await readdir(path, { withFileTypes: true });
  const links = entries.map((entry) => {
    const name = `${entry.name}${entry.isDirectory() ? '/' : ''}`;
    return `<a href="${encodeURI(name)}">${escapeHtml(name)}</a>\n`;
  });
  return reply.type('text/html; charset=utf-8').send(`<!doctype html>\n<pre>\n${links.join('')}</pre>\n`);
}

async function runCommand(
  options: NodeRouteOptions,
  path: RunPath,
  command: string,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const pod = options.view.findPod(path.namespace, path.pod);
  const runs = pod === undefined ? [] : (options.view.runtimeOf(pod.metadata.uid ?? '')?.containers ?? []);
  const run = runs.find(({ name, state }) => name === path.container && state === 'running');
  if (run === undefined) return reply.code(404).type('text/plain').send('pod or container does not exist');
  const result = await options.runtime.execSync(run.id, command.split(' '), 0);
  return reply.type('text/plain').send(Buffer.concat([result.stdout, result.stderr]));
}

/** Registers the routes. */
export function nodeRoutes(server: FastifyInstance, options: NodeRouteOptions): void {
  const { view } = options;
  const health = (_: unknown, reply: FastifyReply) => {
    const problem = options.problem();
    return problem === undefined
      ? reply.type('text/plain').send('ok')
      : reply.code(500).type('text/plain').send(`${problem}\nhealthz check failed\n`);
  };
  for (const path of ['/healthz', '/healthz/ping', '/healthz/log', '/healthz/syncloop']) server.get(path, health);
  server.get('/pods', () => podList(view.pods()));
  server.get('/pods/', () => podList(view.pods()));
  server.get('/configz', () => ({ kubeletconfig: options.configuration }));
  if (!options.debuggingHandlers) return;
  server.get('/runningpods', () => podList(runningPods(view)));
  server.get('/runningpods/', () => podList(runningPods(view)));
  const { nodeLogsDir } = options;
  if (nodeLogsDir !== undefined) {
    const logs = async (url: string, relative: string, reply: FastifyReply) => {
      const query = parseNodeLogQuery(new URL(url, 'http://localhost').searchParams);
      if (query === undefined) return sendNodeLog(nodeLogsDir, relative, reply);
      const text = reply.type('text/plain; charset=utf-8');
      if (options.logQuery === undefined) return text.code(403).send('NodeLogQuery feature is disabled\n');
      if (typeof query === 'string') return text.code(400).send(`${query}\n`);
      const found = await readNodeLogs(query, nodeLogsDir, options.logQuery);
      return found === undefined ? text.code(404).send('no logs found\n') : text.send(found);
    };
    server.get('/logs', (request, reply) => logs(request.url, '', reply));
    server.get<{ Params: { '*': string } }>('/logs/*', (request, reply) =>
      logs(request.url, request.params['*'], reply),
    );
  }
  server.post<{ Params: RunPath; Querystring: { cmd?: string } }>('/run/:namespace/:pod/:container', (request, reply) =>
    runCommand(options, request.params, request.query.cmd ?? '', reply),
  );
}
