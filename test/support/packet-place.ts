// A process in a network namespace that sends and answers packets as a test says, for as long as the test takes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

export type TransportProtocol = 'TCP' | 'UDP';

export type Order =
  | { kind: 'serve'; port: number }
  | {
      kind: 'ask';
      host: string;
      port: number;
      protocol: TransportProtocol;
      count: number;
      inFlight: number;
      timeoutMs: number;
      /** Of a datagram. */
      bytes: number;
    }
  | { kind: 'load'; host: string; port: number; perSecond: number; atMostMs: number }
  | { kind: 'stop'; load: number }
  | { kind: 'hold'; host: string; port: number }
  | { kind: 'say'; connection: number; text: string };

export interface HeldConnection {
  /** What the server said when it took the connection. */
  greeting: string;
  /** Sends a text and returns what came back. */
  say(text: string): Promise<string>;
}

export interface Load {
  /** What all connections gave. */
  stop(): Promise<string[]>;
}

export interface PacketPlace extends AsyncDisposable {
  /** Answers connections with the name of the place and the address they came from. */
  serve(port: number): Promise<void>;
  /** What new connections to an address give: `SERVER SOURCE`, or why there was none. */
  ask(
    host: string,
    port: number,
    options?: { protocol?: TransportProtocol; count?: number; inFlight?: number; timeoutMs?: number; bytes?: number },
  ): Promise<string[]>;
  /** New TCP connections at a steady rate until it is told to stop. */
  load(host: string, port: number, perSecond: number): Load;
  /** A connection that stays open. */
  hold(host: string, port: number): Promise<HeldConnection>;
}

/** Its process starts with the first order. Disposing it ends the process. */
export function createPacketPlace(name: string, namespacePath: string): PacketPlace {
  const program = join(import.meta.dirname, 'packet-place-program.ts');
  const waiting = new Map<number, (answers: string[]) => void>();
  let orders = 0;
  const start = () => {
    const child = spawn('nsenter', [`--net=${namespacePath}`, process.execPath, program, name], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    createInterface({ input: child.stdout }).on('line', (line) => {
      const { id, answers } = JSON.parse(line) as { id: number; answers: string[] };
      waiting.get(id)?.(answers);
      waiting.delete(id);
    });
    child.on('exit', () => {
      for (const resolve of waiting.values()) resolve(['THE PLACE IS GONE']);
    });
    return child;
  };
  let child: ReturnType<typeof start> | undefined;
  const send = (order: Order): { id: number; answers: Promise<string[]> } => {
    orders += 1;
    const id = orders;
    const { promise, resolve } = Promise.withResolvers<string[]>();
    waiting.set(id, resolve);
    child ??= start();
    child.stdin.write(`${JSON.stringify({ id, order })}\n`);
    return { id, answers: promise };
  };
  return {
    serve: async (port) => {
      await send({ kind: 'serve', port }).answers;
    },
    ask: async (host, port, { protocol = 'TCP', count = 1, inFlight = 50, timeoutMs = 700, bytes = 1 } = {}) =>
      await send({ kind: 'ask', host, port, protocol, count, inFlight, timeoutMs, bytes }).answers,
    load: (host, port, perSecond) => {
      const { id, answers } = send({ kind: 'load', host, port, perSecond, atMostMs: 120_000 });
      return {
        stop: async () => {
          await send({ kind: 'stop', load: id }).answers;
          return await answers;
        },
      };
    },
    hold: async (host, port) => {
      const { id, answers } = send({ kind: 'hold', host, port });
      const [greeting = ''] = await answers;
      const say = async (text: string) => (await send({ kind: 'say', connection: id, text }).answers)[0] ?? '';
      return { greeting, say };
    },
    [Symbol.asyncDispose]: async () => {
      if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    },
  };
}
