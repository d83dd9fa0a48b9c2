// exec and attach over WebSocket: every subprotocol of clients, translated to SPDY towards the runtime, whose own
// WebSocket server is older and cannot end standard input before the command ends.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';
import type { Clock } from '#kube/process/clock.ts';
import { acceptWebSocket } from '#kube/websocket/accept-websocket.ts';
import { bytesOf, createFlow } from '#kube/websocket/websocket-flow.ts';
import { createSpdyConnection, type SpdyConnection, type SpdyStream } from '../spdy/spdy-connection.ts';
import { upgradeToSpdy } from '../spdy/upgrade-to-spdy.ts';
import { type ChannelProtocol, channels, decodeMessage, encodeMessage } from './channel-protocol.ts';
import { createIdleTimer } from './idle-timer.ts';

/** Which streams were asked for. */
export interface CommandStreams {
  stdin: boolean;
  stdout: boolean;
  stderr: boolean;
  tty: boolean;
}

export interface WebSocketStreamOptions {
  clock: Clock;
  idleTimeoutMs: number;
}

/** The newest protocol that runtimes' SPDY servers speak: the end is told as a Status. */
const runtimeProtocol = 'v4.channel.k8s.io';

/** What is said of a stream whose end nobody told. */
const brokenStatus = {
  metadata: {},
  status: 'Failure',
  message: 'the runtime closed the stream without telling how the command ended',
  reason: 'InternalError',
  code: 500,
};

interface StatusText {
  status?: string;
  message?: string;
}

/** The last message for the client; undefined where its protocol says nothing of success. */
function endMessage(protocol: ChannelProtocol, told: string): string | undefined {
  const text = told === '' ? JSON.stringify(brokenStatus) : told;
  if (protocol.statusObject) return text;
  const { status, message } = JSON.parse(text) as StatusText;
  return status === 'Success' ? undefined : (message ?? 'the command failed');
}

interface RuntimeStreams {
  stdin: SpdyStream | undefined;
  resize: SpdyStream | undefined;
  /** Resolves with the runtime's last word when everything it had to say was received. */
  finished: Promise<string>;
}

/** Opens the streams in the order and number that the runtime waits for. */
function openStreams(
  spdy: SpdyConnection,
  { stdin, stdout, stderr, tty }: CommandStreams,
  send: (channel: number, data: Buffer) => void,
): RuntimeStreams {
  const told: Buffer[] = [];
  const open = (streamType: string, received: (data: Buffer) => void) => spdy.openStream({ streamType }, received);
  const output = (name: 'stdout' | 'stderr') => open(name, (data) => send(channels[name], data)).ended;
  const ends = [open('error', (data) => void told.push(data)).ended];
  const input = stdin ? open('stdin', () => undefined) : undefined;
  if (stdout) ends.push(output('stdout'));
  if (stderr && !tty) ends.push(output('stderr'));
  const resize = tty ? open('resize', () => undefined) : undefined;
  const finished = Promise.all(ends).then(() => Buffer.concat(told).toString('utf8'));
  return { stdin: input, resize, finished };
}

function listen(
  websocket: WebSocket,
  protocol: ChannelProtocol,
  spdy: SpdyConnection,
  { stdin, resize }: RuntimeStreams,
  touch: () => void,
): void {
  websocket.on('message', (message) => {
    touch();
    const said = decodeMessage(protocol, bytesOf(message));
    if (said === undefined) return;
    const stream = said.channel === channels.stdin ? stdin : said.channel === channels.resize ? resize : undefined;
    if (said.type === 'close') stream?.end();
    else if (stream?.write(said.data) === false) websocket.pause();
  });
  spdy.onDrain(() => {
    if (websocket.isPaused) websocket.resume();
  });
}

/**
 * Joins a client to the stream at `location`. Resolves when the handshake is done; rejects when the runtime refuses,
 * before the client has got an answer.
 */
export async function serveRemoteCommand(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  location: URL,
  streams: CommandStreams,
  protocol: ChannelProtocol,
  options: WebSocketStreamOptions,
): Promise<void> {
  const runtime = await upgradeToSpdy(location, [runtimeProtocol]);
  const giveUp = () => void runtime.socket.destroy();
  socket.once('close', giveUp);
  if (socket.destroyed) return giveUp();
  const websocket = await acceptWebSocket(request, socket, head, protocol.name);
  const spdy = createSpdyConnection(runtime.socket, runtime.head);
  const idle = createIdleTimer(options.clock, options.idleTimeoutMs, () => websocket.terminate());
  const flow = createFlow(websocket, spdy);
  const send = (channel: number, data: Buffer | string): void => {
    idle.touch();
    flow(encodeMessage(protocol, channel, Buffer.from(data)));
  };
  websocket.on('error', () => websocket.terminate());
  websocket.on('close', () => {
    idle.stop();
    spdy.destroy();
  });
  // An empty message tells the client that the connection stands.
  send(streams.stdout ? channels.stdout : streams.stderr ? channels.stderr : channels.error, '');
  const opened = openStreams(spdy, streams, send);
  listen(websocket, protocol, spdy, opened, idle.touch);
  void opened.finished.then((told) => {
    const last = endMessage(protocol, told);
    if (last !== undefined) send(channels.error, last);
    spdy.destroy();
    websocket.close(1000);
  });
}
