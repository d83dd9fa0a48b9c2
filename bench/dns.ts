// Questions that cluster DNS answers in a second of one core, over UDP, asked by another process. The floor is a server
// that sends back what it gets.
import { spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { encode } from 'dns-packet';
import type { Row } from './measure.ts';

const services = 10_000;
const warmUp = 20_000;
const questions = 60_000;
/** As many as fit into the buffers of a socket; more would be lost. */
const inFlight = 64;
const lostAfterMs = 1000;

/** Asks that many questions. Lost ones are made up for by others. */
async function ask(port: number, count: number): Promise<void> {
  const socket = createSocket('udp4');
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const packets = Array.from({ length: services }, (_, index) =>
    encode({
      id: index,
      type: 'query',
      flags: 0x100,
      questions: [{ name: `s-${index}.bench.svc.cluster.local`, type: 'A' }],
    }),
  );
  const done = Promise.withResolvers<void>();
  let answered = 0;
  let sent = 0;
  const send = (): void => {
    socket.send(packets[sent % services] ?? Buffer.alloc(0));
    sent += 1;
  };
  let seen = 0;
  const stalled = setInterval(() => {
    if (answered === seen) for (let i = 0; i < inFlight; i += 1) send();
    seen = answered;
  }, lostAfterMs);
  socket.on('message', () => {
    answered += 1;
    if (answered === count) done.resolve();
    else send();
  });
  for (let i = 0; i < inFlight; i += 1) send();
  await done.promise;
  clearInterval(stalled);
  socket.close();
}

/** Questions in each second of processor time. */
async function measure(kind: 'berth' | 'echo'): Promise<number> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'dns-server.ts'), kind], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const read = async (): Promise<number> => Number((await lines.next()).value);
  const cpuSeconds = (): Promise<number> => {
    child.stdin.write('\n');
    return read();
  };
  try {
    const port = await read();
    await ask(port, warmUp);
    const before = await cpuSeconds();
    await ask(port, questions);
    return questions / ((await cpuSeconds()) - before);
  } finally {
    child.kill();
  }
}

export async function benchDns(): Promise<Row[]> {
  const floor = await measure('echo');
  const berth = await measure('berth');
  return [
    {
      work: 'cluster DNS, questions a core answers, 10,000 services',
      unit: '/s',
      berth,
      floor,
      budget: '20,000 /s on one core',
    },
  ];
}
