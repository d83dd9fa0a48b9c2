// How the API server's rows grow with what it holds, 500 watchers of which one does not read, and how long writes take
// beside compaction and a backup.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { connections, startBenchedControlPlane, stopBenchedControlPlane } from './api-server.ts';
import { type LoadClient, mustCall } from './http.ts';
import { median, quantile, type Row, residentMb, timed } from './measure.ts';

const berth = join(import.meta.dirname, '../packaging/berth');
const base = '/api/v1/namespaces/default/configmaps';
const pad = 'x'.repeat(1000);
const probes = 2000;
const watchers = 500;
const changes = 200;
const sizes = [1000, 10_000, 25_000, 50_000] as const;
const memorySize = 25_000;
const compactionMs = 10_000;

const body = (index: number, value = '') => ({
  metadata: { name: `c-${index}`, labels: { i: `${index % 100}` } },
  data: { pad, value },
});

async function rowsAt(client: LoadClient, size: number, pid: number): Promise<Row[]> {
  const rate = async (count: number, job: (index: number) => Promise<unknown>) =>
    count / (await timed(count, connections, async (index) => void (await job(index))));
  const at = (work: string) => `${size.toLocaleString('en')} ConfigMaps of 1 KB: ${work}`;
  const path = (index: number) => `${base}/c-${(index * 7919) % size}`;
  const update = (index: number) => mustCall(client, 'PUT', path(index), body((index * 7919) % size, 'u'));
  const byLabel = () => mustCall(client, 'GET', `${base}?labelSelector=i%3D3&limit=10`);
  return [
    {
      work: at('get'),
      unit: '/s',
      berth: await rate(probes, (index) => mustCall(client, 'GET', path(index))),
      budget: '-',
    },
    { work: 'same: update', unit: '/s', berth: await rate(probes, update), budget: '-' },
    { work: 'same: list of 10 by label', unit: '/s', berth: await rate(100, byLabel), budget: '-' },
    {
      work: 'same: memory',
      unit: 'MB',
      berth: residentMb(pid),
      budget: size === memorySize ? '<= 250 MB' : '-',
    },
  ];
}

/** Time of writes in milliseconds while `beside` runs. */
async function writesBeside(client: LoadClient, beside: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  let isOver = false;
  const done = beside().finally(() => {
    isOver = true;
  });
  const worker = async (offset: number): Promise<void> => {
    for (let index = offset; !isOver || times.length < probes; index += connections) {
      const started = performance.now();
      await mustCall(client, 'PUT', `${base}/c-${index % sizes[0]}`, body(index % sizes[0], `${index}`));
      times.push(performance.now() - started);
    }
  };
  await Promise.all([done, ...Array.from({ length: connections }, (_, offset) => worker(offset))]);
  return times;
}

/** How late changes reach those who read, with one among them who does not, in milliseconds. */
async function watching(client: LoadClient, pid: number): Promise<Row[]> {
  const list = JSON.parse((await mustCall(client, 'GET', `${base}?limit=1`)).toString()) as {
    metadata: { resourceVersion: string };
  };
  const path = `${base}?watch=1&resourceVersion=${list.metadata.resourceVersion}`;
  const sentAt = new Map<string, number>();
  const late: number[] = [];
  const all = Promise.withResolvers<void>();
  const stops = Array.from({ length: watchers }, (_, index) =>
    client.stream(
      path,
      (line) => {
        const value = /"value":"(w-\d+)"/.exec(line)?.[1];
        const sent = value === undefined ? undefined : sentAt.get(value);
        if (sent === undefined) return;
        late.push(performance.now() - sent);
        if (late.length === (watchers - 1) * changes) all.resolve();
      },
      { paused: index === 0 },
    ),
  );
  await sleep(2000);
  const before = residentMb(pid);
  for (let index = 0; index < changes; index += 1) {
    sentAt.set(`w-${index}`, performance.now());
    await mustCall(client, 'PUT', `${base}/c-${index}`, body(index, `w-${index}`));
  }
  await all.promise;
  const after = residentMb(pid);
  for (const stop of stops) stop();
  return [
    {
      work: `${watchers} watchers, one of them stuck: change seen, median`,
      unit: 'ms',
      berth: median(late),
      budget: '-',
    },
    { work: 'same: 99th percentile', unit: 'ms', berth: quantile(late, 0.99), budget: '-' },
    { work: `same: memory added by ${changes} changes`, unit: 'MB', berth: after - before, budget: 'bounded' },
  ];
}

/** Runs all rows on one fresh control plane that fills up. */
export async function benchApiGrowth(): Promise<Row[]> {
  // So that history is compacted while rows are measured, as it is every five minutes otherwise.
  const plane = await startBenchedControlPlane([`--etcd-compaction-interval=${compactionMs / 1000}s`]);
  const { client, child, dir } = plane;
  const pid = child.pid ?? 0;
  try {
    const rows: Row[] = [];
    let held = 0;
    for (const size of sizes) {
      const first = held;
      const create = async (index: number) => void (await mustCall(client, 'POST', base, body(first + index)));
      await timed(size - held, connections, create);
      held = size;
      rows.push(...(await rowsAt(client, size, pid)));
    }
    rows.push(...(await watching(client, pid)));
    const alone = await writesBeside(client, () => sleep(3000));
    const compacted = await writesBeside(client, () => sleep(3 * compactionMs));
    const backup = join(dir, 'backup');
    const backedUp = await writesBeside(client, () =>
      promisify(execFile)(berth, ['backup', backup, '--data-dir', join(dir, 'data')]),
    );
    const late = (work: string, times: readonly number[], budget: string): Row => ({
      work,
      unit: 'ms',
      berth: quantile(times, 0.99),
      floor: undefined,
      budget,
    });
    rows.push(late('writes by 16 clients, 99th percentile', alone, '-'));
    rows.push(late('same, over three compactions', compacted, '<= 100 ms'));
    rows.push(late('same, beside a backup of 50,000 objects', backedUp, '<= 100 ms'));
    return rows;
  } finally {
    await stopBenchedControlPlane(plane);
  }
}
