// The streaming server of a runtime as it meets the agent, with the runtime's end of each connection in a test's hands.
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import { constants, inflateSync } from 'node:zlib';
import { dataFrames, rstStreamFrame } from '../../agent/server/spdy/spdy-frames.ts';

/** One upgraded connection. */
export interface RuntimeConnection {
  /** Stream ids by `streamtype`, as they were opened. */
  streams: Map<string, number>;
  /** What was received, by stream type; `ended` are the streams that the agent has ended. */
  received: Map<string, string>;
  ended: Set<string>;
  say(streamType: string, text: string, fin?: boolean): void;
  reset(streamType: string): void;
  cut(): void;
  isClosed(): boolean;
}

export interface FakeSpdyRuntime extends AsyncDisposable {
  url: string;
  connections: RuntimeConnection[];
  /** Answers upgrades with this status instead. */
  refuse(status: number | undefined): void;
}

/** Name and value of a header block with one header. */
function firstHeader(block: Buffer): { name: string; value: string } {
  const nameLength = block.readUInt32BE(4);
  const name = block.subarray(8, 8 + nameLength).toString();
  const valueLength = block.readUInt32BE(8 + nameLength);
  return { name, value: block.subarray(12 + nameLength, 12 + nameLength + valueLength).toString() };
}

function connectionOn(socket: Duplex): RuntimeConnection {
  const streams = new Map<string, number>();
  const received = new Map<string, string>();
  const ended = new Set<string>();
  let rest: Buffer = Buffer.alloc(0);
  let compressed = Buffer.alloc(0);
  let inflated = 0;
  let closed = false;
  const typeOf = (id: number) => [...streams].find(([, streamId]) => streamId === id)?.[0] ?? '';

  socket.on('error', () => socket.destroy());
  socket.on('end', () => socket.destroy());
  socket.on('close', () => {
    closed = true;
  });
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk]);
    while (rest.length >= 8) {
      const length = rest.readUInt32BE(4) & 0xffffff;
      if (rest.length < 8 + length) return;
      const [head, payload] = [rest.subarray(0, 8), rest.subarray(8, 8 + length)];
      rest = rest.subarray(8 + length);
      if (head.readUInt32BE(0) === 0x80030001) {
        // The blocks of a connection are one zlib stream: each is what the whole has more than before.
        compressed = Buffer.concat([compressed, payload.subarray(10)]);
        const all = inflateSync(compressed, { finishFlush: constants.Z_SYNC_FLUSH });
        streams.set(firstHeader(all.subarray(inflated)).value, payload.readUInt32BE(0));
        inflated = all.length;
      } else if ((head[0] ?? 0) < 0x80) {
        const type = typeOf(head.readUInt32BE(0));
        received.set(type, (received.get(type) ?? '') + payload.toString());
        if (((head[4] ?? 0) & 1) !== 0) ended.add(type);
      }
    }
  });
  return {
    streams,
    received,
    ended,
    say: (type, text, fin = false) => {
      for (const frame of dataFrames(streams.get(type) ?? 0, Buffer.from(text), fin)) socket.write(frame);
    },
    reset: (type) => void socket.write(rstStreamFrame(streams.get(type) ?? 0, 5)),
    cut: () => void socket.destroy(),
    isClosed: () => closed,
  };
}

export async function startFakeSpdyRuntime(): Promise<FakeSpdyRuntime> {
  const connections: RuntimeConnection[] = [];
  let refusal: number | undefined;
  const server: Server = createServer();
  server.on('upgrade', (request, socket: Duplex) => {
    if (refusal !== undefined) {
      socket.end(`HTTP/1.1 ${refusal} Refused\r\nContent-Length: 7\r\nConnection: close\r\n\r\nrefused`);
      return;
    }
    const protocol = String(request.headers['x-stream-protocol-version']).split(',')[0];
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: ${protocol}\r\n\r\n`,
    );
    connections.push(connectionOn(socket));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    connections,
    refuse: (status) => {
      refusal = status;
    },
    [Symbol.asyncDispose]: async () => {
      for (const connection of connections) connection.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
