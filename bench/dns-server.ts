// One DNS server for the bench, a process of its own: `dns-server.ts berth|echo` prints its port. On a line of its input
// it prints the processor seconds it has used.
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { createDnsServer } from '../proxy/dns/dns-server.ts';
import { generateService } from './proxy-model.ts';

const services = 10_000;

/** A port that nobody has. */
async function findPort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

async function startBerth(port: number): Promise<void> {
  const byKey = new Map<string, Service>();
  for (let index = 0; index < services; index += 1) byKey.set(`bench/s-${index}`, generateService(index).service);
  const server = createDnsServer({
    bind: { host: '127.0.0.1', port },
    zone: 'cluster.local',
    names: {
      service: (key) => byKey.get(key),
      slices: () => [],
      serviceByIP: () => undefined,
      hostsByIP: () => [],
      hasServices: () => true,
      generation: () => 0,
    },
    forward: () => Promise.reject(new Error('there are no resolvers here')),
    clock: systemClock,
    logger: pino({ level: 'silent' }),
  });
  void server.run(new AbortController().signal);
  await server.ready;
}

/** The least that a server in this language does: sends back what came. */
async function startEcho(port: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.on('message', (message, from) => socket.send(message, from.port, from.address));
  socket.bind(port, '127.0.0.1');
  await once(socket, 'listening');
}

const port = await findPort();
await (process.argv[2] === 'echo' ? startEcho : startBerth)(port);
process.stdout.write(`${port}\n`);
for await (const _ of createInterface({ input: process.stdin })) {
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${(user + system) / 1e6}\n`);
}
process.exit();
