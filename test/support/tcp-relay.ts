// An address of this machine that leads to another one, as an API server behind it seems to be: it can die, and it can
// fall silent without a word.
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TcpRelay extends AsyncDisposable {
  port: number;
  /** How many connections were made to it. */
  connections(): number;
  /** Takes connections and passes nothing on, as a machine that lost its network; existing ones fall silent too. */
  fallSilent(): void;
  /** Passes nothing on of the connections that are there, without a word, and serves new ones: a network that came back. */
  forgetConnections(): void;
}

/** Listens on a free port of the loopback, where nothing else is said. Disposing it cuts every connection and refuses further ones. */
export async function startTcpRelay(
  host: string,
  port: number,
  listen = { host: '127.0.0.1', port: 0 },
): Promise<TcpRelay> {
  const sockets = new Set<Socket>();
  let isSilent = false;
  let forgotten = 0;
  let count = 0;
  const keep = (socket: Socket) => {
    sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.on('close', () => sockets.delete(socket));
  };
  const server = createServer({ noDelay: true }, (client) => {
    count += 1;
    const own = count;
    const isDead = () => isSilent || own <= forgotten;
    keep(client);
    if (isSilent) return;
    const target = connect({ host, port, noDelay: true });
    keep(target);
    client.on('close', () => target.destroy());
    target.on('close', () => client.destroy());
    client.on('data', (chunk) => isDead() || target.write(chunk));
    target.on('data', (chunk) => isDead() || client.write(chunk));
  });
  await new Promise<void>((resolve) => server.listen(listen, resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => count,
    fallSilent: () => {
      isSilent = true;
    },
    forgetConnections: () => {
      forgotten = count;
    },
    [Symbol.asyncDispose]: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
