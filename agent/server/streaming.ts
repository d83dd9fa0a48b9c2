// exec, attach and port-forward: finds the container, asks the runtime for a stream, joins the caller to it: SPDY as
// it is, WebSocket by translation.
import { type IncomingMessage, STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { HandshakeError, isWebSocketRequest, offeredProtocols } from '#kube/websocket/accept-websocket.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { UpgradeRefusedError } from './spdy/upgrade-to-spdy.ts';
import { passUpgrade, refuseUpgrade, upgradeProblem } from './upgrade-proxy.ts';
import { selectChannelProtocol } from './websocket/channel-protocol.ts';
import { servePortForwardTunnel, tunnelledProtocols } from './websocket/serve-port-forward-tunnel.ts';
import { type CommandStreams, serveRemoteCommand } from './websocket/serve-remote-command.ts';

export interface StreamingOptions {
  runtime: RuntimeService;
  /** What the runtime has of a pod; undefined when the pod is not on this node. */
  findPod(namespace: string, name: string, uid: string | undefined): PodRuntime | undefined;
  idleTimeoutMs: number;
  clock: Clock;
  logger: Logger;
}

/** A request that cannot be served; the status goes into the answer. */
class StreamError extends Error {
  readonly code = 'STREAM';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'StreamError';
    this.status = status;
  }
}

/** The path of a streaming request taken apart. */
export interface StreamTarget {
  kind: 'exec' | 'attach' | 'portForward';
  namespace: string;
  pod: string;
  uid: string | undefined;
  container: string;
}

/** Undefined where something is encoded that is no text. */
function decodedParts(path: string): string[] | undefined {
  try {
    const parts = path.split('/').filter((part) => part !== '');
    return parts.map(decodeURIComponent);
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}

/** Undefined for other paths. */
export function parseStreamPath(path: string): StreamTarget | undefined {
  const parts = decodedParts(path);
  const [kind, namespace, pod, ...rest] = parts ?? [];
  if (namespace === undefined || pod === undefined) return undefined;
  if (kind === 'portForward' && rest.length <= 1) return { kind, namespace, pod, uid: rest[0], container: '' };
  if (kind !== 'exec' && kind !== 'attach') return undefined;
  if (rest.length === 1) return { kind, namespace, pod, uid: undefined, container: rest[0] ?? '' };
  if (rest.length === 2) return { kind, namespace, pod, uid: rest[0], container: rest[1] ?? '' };
  return undefined;
}

function isSet(query: URLSearchParams, ...names: string[]): boolean {
  return names.some((name) => ['1', 'true'].includes(query.get(name) ?? ''));
}

/** Ports of a port-forward over WebSocket; over SPDY they come with the streams. */
function ports(query: URLSearchParams): number[] {
  return query
    .getAll('port')
    .flatMap((text) => text.split(','))
    .map(Number)
    .filter((port) => Number.isInteger(port) && port > 0 && port < 65536);
}

/** The streams of exec and attach that a query asks for, in the words of kubectl and of older clients. */
function commandStreams(query: URLSearchParams): CommandStreams {
  const tty = isSet(query, 'tty');
  return {
    tty,
    stdin: isSet(query, 'input', 'stdin'),
    stdout: isSet(query, 'output', 'stdout'),
    stderr: isSet(query, 'error', 'stderr') && !tty,
  };
}

async function streamUrl(options: StreamingOptions, target: StreamTarget, query: URLSearchParams): Promise<string> {
  const { runtime } = options;
  const pod = options.findPod(target.namespace, target.pod, target.uid);
  if (pod === undefined) throw new StreamError(404, 'pod does not exist');
  if (target.kind === 'portForward') {
    const sandbox = pod.sandboxes.find(({ ready }) => ready);
    if (sandbox === undefined) throw new StreamError(404, `pod ${target.pod} has no running sandbox`);
    return runtime.portForward(sandbox.id, ports(query));
  }
  const container = pod.containers.find(({ name, state }) => name === target.container && state === 'running');
  if (container === undefined) throw new StreamError(500, `container not found ("${target.container}")`);
  const streams = commandStreams(query);
  const { stdin, stdout, stderr } = streams;
  if (!stdin && !stdout && !stderr) throw new StreamError(400, 'you must specify at least 1 of stdin, stdout, stderr');
  const asked = { containerId: container.id, ...streams };
  return target.kind === 'attach' ? runtime.attach(asked) : runtime.exec({ ...asked, cmd: query.getAll('command') });
}

/** Serves a WebSocket by translation. False when this is none, or one that the runtime's own server understands. */
async function serveWebSocket(
  options: StreamingOptions,
  { kind }: StreamTarget,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  query: URLSearchParams,
  location: () => Promise<URL>,
): Promise<boolean> {
  if (!isWebSocketRequest(request)) return false;
  const offered = offeredProtocols(request);
  if (kind === 'portForward') {
    const protocols = tunnelledProtocols(offered);
    if (protocols.length === 0) return false;
    await servePortForwardTunnel(request, socket, head, await location(), protocols, options);
    return true;
  }
  const protocol = selectChannelProtocol(offered);
  if (protocol === undefined) {
    throw new StreamError(400, `unable to upgrade: none of the subprotocols ${offered.join(', ')} is known`);
  }
  const streams = commandStreams(query);
  await serveRemoteCommand(request, socket, head, await location(), streams, protocol, options);
  return true;
}

/** Serves one upgrade request that has been authorized. False when the path is not a stream's. */
export async function serveStream(
  options: StreamingOptions,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<boolean> {
  // What is no path at all leads nowhere either.
  if (!URL.canParse(request.url ?? '/', 'http://localhost')) return false;
  const url = new URL(request.url ?? '/', 'http://localhost');
  const target = parseStreamPath(url.pathname);
  if (target === undefined) return false;
  const location = async () => new URL(await streamUrl(options, target, url.searchParams));
  try {
    if (await serveWebSocket(options, target, request, socket, head, url.searchParams, location)) return true;
    const problem = upgradeProblem(request);
    if (problem !== undefined) throw new StreamError(400, problem);
    passUpgrade(request, socket, head, await location(), options.idleTimeoutMs);
  } catch (error) {
    const isKnown =
      error instanceof StreamError || error instanceof UpgradeRefusedError || error instanceof HandshakeError;
    const status = isKnown ? error.status : 500;
    if (!isKnown) options.logger.warn({ err: error, path: url.pathname }, 'cannot open a stream');
    if (!socket.destroyed) refuseUpgrade(socket, status, STATUS_CODES[status] ?? 'Error', (error as Error).message);
  }
  return true;
}
