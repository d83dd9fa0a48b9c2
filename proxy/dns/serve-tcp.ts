// DNS over TCP (RFC 7766): many questions on one connection. What one connection holds is bounded, in bytes and in
// time; when there are too many, the one that is there for longest makes room.
import { createServer, type Server, type Socket } from 'node:net';
import type { Clock, Timer } from '#kube/process/clock.ts';
import type { Respond } from './create-responder.ts';

const idleMs = 10_000;
/** A question that has begun must be whole after this long, however slowly its bytes drip. */
const messageMs = 5000;
const maxConnections = 512;
const maxPending = 32;
const largestAnswer = 65_535;

function serveConnection(socket: Socket, respond: Respond, clock: Clock): void {
  let rest: Buffer = Buffer.alloc(0);
  let pending = 0;
  let isFull = false;
  let deadline: Timer | undefined;
  socket.setTimeout(idleMs, () => socket.destroy());
  socket.on('error', () => socket.destroy());
  socket.on('close', () => deadline?.cancel());

  const send = (answer: Buffer): void => {
    const length = Buffer.allocUnsafe(2);
    length.writeUInt16BE(answer.length);
    if (!socket.write(Buffer.concat([length, answer]))) isFull = true;
  };
  const settle = (answer: Buffer | undefined): void => {
    if (socket.destroyed) return;
    if (answer !== undefined) send(answer);
    else socket.destroy();
  };
  /** Answers what is whole, until as many wait as may, or the client does not take its answers. */
  const proceed = (): void => {
    while (!socket.destroyed && pending < maxPending && !isFull) {
      if (rest.length < 2 || rest.length < 2 + rest.readUInt16BE(0)) break;
      const end = 2 + rest.readUInt16BE(0);
      const packet = rest.subarray(2, end);
      rest = rest.subarray(end);
      const answer = respond(packet, () => largestAnswer);
      if (answer instanceof Promise) {
        pending += 1;
        void answer.then(settle).finally(() => {
          pending -= 1;
          proceed();
        });
      } else settle(answer);
    }
    if (socket.destroyed) return;
    if (pending >= maxPending || isFull) socket.pause();
    else socket.resume();
    deadline?.cancel();
    deadline = rest.length > 0 ? clock.after(messageMs, () => socket.destroy()) : undefined;
  };
  socket.on('data', (chunk) => {
    const hadBegun = rest.length > 0;
    rest = hadBegun ? Buffer.concat([rest, chunk]) : chunk;
    // The deadline of a message that has begun is not moved by its next byte.
    if (hadBegun && rest.length < 2 + (rest.length < 2 ? 0 : rest.readUInt16BE(0))) return;
    proceed();
  });
  socket.on('drain', () => {
    isFull = false;
    proceed();
  });
}

/** A server of its own connections: `close` ends them too. */
export function createTcpServer(respond: Respond, clock: Clock): { server: Server; close(): void } {
  const connections = new Set<Socket>();
  const server = createServer((socket) => {
    const [oldest] = connections;
    if (connections.size >= maxConnections) oldest?.destroy();
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    serveConnection(socket, respond, clock);
  });
  return {
    server,
    close: () => {
      server.close();
      for (const socket of connections) socket.destroy();
    },
  };
}
