// Reaches addresses inside a network namespace from a test's own process.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from './eventually.ts';
import type { NetworkNamespace } from './network-namespace.ts';

export interface NamespaceDialer extends AsyncDisposable {
  dial(host: string, port: number): Socket;
  /** A port of this machine's loopback that leads to an address inside. */
  publish(host: string, port: number): Promise<number>;
}

export async function createNamespaceDialer(namespace: NetworkNamespace): Promise<NamespaceDialer> {
  const directory = await mkdtemp(join(tmpdir(), 'berth-dial-'));
  const path = join(directory, 'socket');
  const program = join(import.meta.dirname, 'namespace-relay.ts');
  const child = spawn('nsenter', [`--net=${namespace.path}`, process.execPath, program, path], {
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  await eventually('the relay listens', async () => existsSync(path));
  const dial = (host: string, port: number): Socket => {
    const socket = connect(path);
    socket.write(`${host} ${port}\n`);
    return socket;
  };
  const servers: ReturnType<typeof createServer>[] = [];
  const sockets = new Set<Socket>();
  return {
    dial,
    publish: async (host, port) => {
      const server = createServer({ noDelay: true }, (client) => {
        const target = dial(host, port);
        for (const [one, other] of [
          [client, target],
          [target, client],
        ] as const) {
          sockets.add(one);
          one.on('error', () => other.destroy());
          one.on('close', () => {
            sockets.delete(one);
            other.destroy();
          });
          one.pipe(other);
        }
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return (server.address() as AddressInfo).port;
    },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      for (const server of servers) server.close();
      child.stdin?.end();
      await ended;
      await rm(directory, { recursive: true, force: true });
    },
  };
}
