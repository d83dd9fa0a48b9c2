// A place that sends and answers packets: runs inside a network namespace, takes orders as lines of JSON on standard
// input and answers each by a line. Run by packet-place.ts.
import { createSocket } from 'node:dgram';
import { connect, createServer, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import type { Order } from './packet-place.ts';

const [, , name = ''] = process.argv;
const held = new Map<number, { socket: Socket; said: string[]; wake: (() => void)[] }>();
let nextUdpPort = 20_000;

/** A client's address without the form that IPv4 has on sockets of both families. */
const plain = (address: string | undefined): string => (address ?? '').replace(/^::ffff:/, '');

/** An error of sending comes as an event, too. */
const ignore = (): void => undefined;

async function serve(port: number): Promise<string[]> {
  const tcp = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.write(`${name} ${plain(socket.remoteAddress)}\n`);
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => tcp.listen({ port, host: '::', backlog: 1024 }, () => resolve()));
  for (const type of ['udp4', 'udp6'] as const) {
    const udp = createSocket({ type, ipv6Only: type === 'udp6' });
    udp.on('message', (_, peer) => udp.send(`${name} ${peer.address}`, peer.port, peer.address));
    await new Promise<void>((resolve) => udp.bind(port, () => resolve()));
  }
  return ['listening'];
}

/** What the server said, or the code of the error. */
function askTcp(host: string, port: number, timeoutMs: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const timer = setTimeout(() => end('TIMEOUT'), timeoutMs);
    const end = (text: string): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(text.trim());
    };
    socket.on('data', (data) => end(String(data)));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'ERROR'));
    socket.on('end', () => end('END'));
  });
}

function askUdp(host: string, port: number, timeoutMs: number, bytes: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const timer = setTimeout(() => end('TIMEOUT'), timeoutMs);
    // A kernel sends only so many refusals in a second.
    const question = 'x'.repeat(bytes);
    const again = setInterval(() => socket.send(question, ignore), 600);
    const end = (text: string): void => {
      clearTimeout(timer);
      clearInterval(again);
      socket.close();
      resolve(text.trim());
    };
    socket.on('message', (data) => end(String(data)));
    socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? 'ERROR'));
    // Never the same port again: an old flow of it could still be known to the kernel.
    nextUdpPort += 1;
    socket.bind(nextUdpPort, () => {
      socket.connect(port, host, (error?: Error) => {
        if (error === undefined || error === null) socket.send(question);
      });
    });
  });
}

async function ask({
  host,
  port,
  protocol,
  count,
  inFlight,
  timeoutMs,
  bytes,
}: Order & { kind: 'ask' }): Promise<string[]> {
  const answers: string[] = [];
  const worker = async (): Promise<void> => {
    while (started < count) {
      started += 1;
      answers.push(await (protocol === 'TCP' ? askTcp(host, port, timeoutMs) : askUdp(host, port, timeoutMs, bytes)));
    }
  };
  let started = 0;
  await Promise.all(Array.from({ length: Math.min(count, inFlight) }, worker));
  return answers;
}

const stopped = new Set<number>();

/** New connections at a steady rate for a while. */
async function load(id: number, { host, port, perSecond, atMostMs }: Order & { kind: 'load' }): Promise<string[]> {
  const answers: Promise<string>[] = [];
  const began = performance.now();
  while (!stopped.has(id) && performance.now() - began < atMostMs) {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    while (answers.length < due) answers.push(askTcp(host, port, 5000));
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return await Promise.all(answers);
}

async function hold(id: number, host: string, port: number): Promise<string[]> {
  const socket = connect({ host, port });
  const entry = { socket, said: [] as string[], wake: [] as (() => void)[] };
  held.set(id, entry);
  const tell = (text: string): void => {
    entry.said.push(text);
    for (const wake of entry.wake.splice(0)) wake();
  };
  socket.on('data', (data) => tell(String(data).trim()));
  socket.on('error', (error: NodeJS.ErrnoException) => tell(error.code ?? 'ERROR'));
  return await heard(id);
}

/** The next that a held connection says. */
async function heard(id: number): Promise<string[]> {
  const entry = held.get(id);
  if (entry === undefined) return ['NO SUCH CONNECTION'];
  const deadline = performance.now() + 5000;
  while (entry.said.length === 0 && performance.now() < deadline) {
    await new Promise<void>((resolve) => {
      entry.wake.push(resolve);
      setTimeout(resolve, 100);
    });
  }
  return [entry.said.shift() ?? 'TIMEOUT'];
}

async function follow(id: number, order: Order): Promise<string[]> {
  switch (order.kind) {
    case 'serve':
      return await serve(order.port);
    case 'ask':
      return await ask(order);
    case 'load':
      return await load(id, order);
    case 'stop':
      stopped.add(order.load);
      return [];
    case 'hold':
      return await hold(id, order.host, order.port);
    case 'say':
      held.get(order.connection)?.socket.write(order.text);
      return await heard(order.connection);
    default:
      return order satisfies never;
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { id, order } = JSON.parse(line) as { id: number; order: Order };
  void follow(id, order).then((answers) => process.stdout.write(`${JSON.stringify({ id, answers })}\n`));
}
process.exit(0);
