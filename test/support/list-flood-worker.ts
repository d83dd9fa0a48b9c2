// A thread that asks for the same list again and again over many connections, and counts the answers by status.
import { Agent, request } from 'node:https';
import { parentPort, workerData } from 'node:worker_threads';

export interface FloodOptions {
  port: number;
  path: string;
  caPem: string;
  certPem: string;
  keyPem: string;
  connections: number;
}

export type FloodCounts = Record<string, number>;

const { port, path, caPem, certPem, keyPem, connections } = workerData as FloodOptions;
const agent = new Agent({ keepAlive: true, maxSockets: connections, ca: caPem, cert: certPem, key: keyPem });
const counts: FloodCounts = {};
let isStopped = false;

const ask = (): Promise<void> =>
  new Promise((resolve) => {
    const outgoing = request({ host: '127.0.0.1', port, path, agent }, (answer) => {
      const status = String(answer.statusCode);
      counts[status] = (counts[status] ?? 0) + 1;
      if (status === '429' && answer.headers['retry-after'] === undefined) counts['without retry-after'] = 1;
      answer.resume();
      answer.once('close', resolve);
    });
    outgoing.once('error', () => resolve());
    outgoing.end();
  });

const keepAsking = async (): Promise<void> => {
  while (!isStopped) await ask();
};

parentPort?.once('message', () => {
  isStopped = true;
});
await Promise.all(Array.from({ length: connections }, keepAsking));
agent.destroy();
parentPort?.postMessage(counts);
