// A WebSocket to the API server of a test's cluster, with what it says collected.
import { WebSocket } from 'ws';
import type { ClientConfig } from '#kube/client/config.ts';
import { bytesOf } from '#kube/websocket/websocket-flow.ts';
import { eventually } from './eventually.ts';

export interface TestWebSocket {
  /** The subprotocol agreed on. */
  protocol: string;
  messages: Buffer[];
  send(...parts: (string | Buffer | number[])[]): void;
  /** Everything said in a channel so far. */
  channel(number: number): string;
  /** Resolves with the close code. */
  closed: Promise<number>;
  isClosed(): boolean;
  /** Stops and restarts reading. */
  pause(): void;
  resume(): void;
  close(): void;
}

/** Rejects when the server does not upgrade, with its status and text in the message. */
export async function openWebSocket(config: ClientConfig, path: string, protocols: string[]): Promise<TestWebSocket> {
  const { certificate } = (await config.credentials?.current()) ?? {};
  const websocket = new WebSocket(`${(config.servers[0] ?? '').replace(/^http/, 'ws')}${path}`, protocols, {
    ca: config.caPem,
    cert: certificate?.certPem,
    key: certificate?.keyPem,
    perMessageDeflate: false,
  });
  const messages: Buffer[] = [];
  const closed = Promise.withResolvers<number>();
  let isClosed = false;
  websocket.on('message', (message) => void messages.push(bytesOf(message)));
  websocket.on('close', (code) => {
    isClosed = true;
    closed.resolve(code);
  });
  await new Promise<void>((resolve, reject) => {
    websocket.once('open', resolve);
    websocket.once('error', reject);
    websocket.once('unexpected-response', (_, answer) => {
      const parts: Buffer[] = [];
      answer.on('data', (part: Buffer) => void parts.push(part));
      answer.on('end', () => reject(new Error(`${answer.statusCode}: ${Buffer.concat(parts).toString()}`)));
    });
  });
  return {
    protocol: websocket.protocol,
    messages,
    send: (...parts) => websocket.send(Buffer.concat(parts.map((part) => Buffer.from(part as string)))),
    channel: (number) =>
      Buffer.concat(
        messages.filter((message) => message[0] === number).map((message) => message.subarray(1)),
      ).toString(),
    closed: closed.promise,
    isClosed: () => isClosed,
    pause: () => websocket.pause(),
    resume: () => websocket.resume(),
    close: () => websocket.close(),
  };
}

/** Waits for a text in a channel. */
export async function saysIn(websocket: TestWebSocket, channel: number, text: string | RegExp): Promise<void> {
  await eventually(`${text} in channel ${channel}`, async () => {
    const said = websocket.channel(channel);
    return typeof text === 'string' ? said.includes(text) : text.test(said);
  });
}
