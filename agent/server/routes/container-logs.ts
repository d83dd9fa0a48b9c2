// /containerLogs: what `kubectl logs` shows.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { parseTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import { findContainer } from '../../container/pod-containers.ts';
import { ContainerLogError, type NodeView, selectLoggedRun } from '../node-view.ts';
import { type LogOptions, readLog } from '../read-log.ts';

interface LogPath {
  namespace: string;
  pod: string;
  container: string;
}

function wholeNumber(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d+$/.test(text)) throw new ContainerLogError(400, `${name} must be a whole number, not "${text}"`);
  return Number(text);
}

function isTrue(query: URLSearchParams, name: string): boolean {
  return ['1', 'true'].includes(query.get(name) ?? '');
}

function parseStream(text: string | null): LogOptions['stream'] {
  if (text === null || text === '' || text === 'All') return 'All';
  if (text === 'Stdout' || text === 'Stderr') return text;
  throw new ContainerLogError(400, `stream must be All, Stdout or Stderr, not "${text}"`);
}

function parseOptions(query: URLSearchParams, nowMs: number): LogOptions {
  const sinceSeconds = wholeNumber(query, 'sinceSeconds');
  const sinceTime = query.get('sinceTime');
  const sinceTimeMs = parseTime(sinceTime ?? undefined);
  if (sinceTime !== null && sinceTime !== '' && sinceTimeMs === undefined) {
    throw new ContainerLogError(400, `sinceTime must be a time, not "${sinceTime}"`);
  }
  return {
    follow: isTrue(query, 'follow'),
    timestamps: isTrue(query, 'timestamps'),
    tailLines: wholeNumber(query, 'tailLines'),
    sinceMs: sinceSeconds === undefined ? sinceTimeMs : nowMs - sinceSeconds * 1000,
    limitBytes: wholeNumber(query, 'limitBytes'),
    stream: parseStream(query.get('stream')),
  };
}

async function send(view: NodeView, clock: Clock, request: FastifyRequest<{ Params: LogPath }>, reply: FastifyReply) {
  const { namespace, pod: podName, container } = request.params;
  const query = new URL(request.url, 'http://localhost').searchParams;
  const pod = view.findPod(namespace, podName);
  if (pod === undefined) return reply.code(404).type('text/plain').send(`pod does not exist`);
  if (findContainer(pod, container) === undefined) {
    return reply.code(404).type('text/plain').send(`container "${container}" not found in pod "${podName}"`);
  }
  const options = parseOptions(query, clock.now());
  const run = selectLoggedRun(view, pod, container, isTrue(query, 'previous'));
  const closed = new AbortController();
  reply.raw.once('close', () => closed.abort());
  const uid = pod.metadata.uid ?? '';
  const isRunning = () => view.runtimeOf(uid)?.containers.find(({ id }) => id === run.id)?.state === 'running';
  reply.hijack();
  reply.raw.writeHead(200, { 'Content-Type': 'text/plain', 'Transfer-Encoding': 'chunked' });
  reply.raw.flushHeaders();
  try {
    for await (const part of readLog(run.logPath, options, { isRunning, clock, signal: closed.signal })) {
      if (!reply.raw.write(part))
        await new Promise((resolve) => reply.raw.once('drain', resolve).once('close', resolve));
    }
  } catch (error) {
    // A container that failed to start has no log; that is an empty one.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
      reply.raw.write(`failed to read the log: ${(error as Error).message}\n`);
  }
  reply.raw.end();
  return reply;
}

/** Registers the route. */
export function containerLogRoutes(server: FastifyInstance, view: NodeView, clock: Clock): void {
  server.get<{ Params: LogPath }>('/containerLogs/:namespace/:pod/:container', (request, reply) =>
    send(view, clock, request, reply),
  );
}
