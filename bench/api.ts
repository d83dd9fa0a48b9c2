// The API server rows: cold start, writes, reads, lists and fan-out, on a control plane without nodes.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connections, startBenchedControlPlane, stopBenchedControlPlane } from './api-server.ts';
import { createLoadClient, type LoadClient, mustCall } from './http.ts';
import { type Row, residentMb, timed } from './measure.ts';

const objects = 2000;
const watchers = 20;
const pad = 'x'.repeat(1000);

/** Calls a second on the floor server, by kind of call. */
async function measureFloor(dir: string): Promise<Record<'put' | 'remove' | 'get' | 'list', number>> {
  const server = spawn(
    process.execPath,
    [join(import.meta.dirname, 'api-floor.ts'), `${dir}/pki/apiserver.crt`, `${dir}/pki/apiserver.key`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  const [chunk] = (await once(server.stdout, 'data')) as [Buffer];
  const client = createLoadClient(
    join(dir, 'admin.kubeconfig'),
    connections,
    `https://127.0.0.1:${chunk.toString().trim()}`,
  );
  const body = { pad };
  const put =
    objects / (await timed(objects, connections, async (i) => void (await mustCall(client, 'PUT', `/c-${i}`, body))));
  const get =
    objects / (await timed(objects, connections, async (i) => void (await mustCall(client, 'GET', `/c-${i}`))));
  const list = 60 / (await timed(60, connections, async () => void (await mustCall(client, 'GET', '/list'))));
  const remove =
    objects / (await timed(objects, connections, async (i) => void (await mustCall(client, 'DELETE', `/c-${i}`))));
  client.close();
  server.kill('SIGTERM');
  await once(server, 'exit');
  return { put, get, list, remove };
}

async function fanOut(client: LoadClient, base: string, update: (index: number) => Promise<void>): Promise<number> {
  let seen = 0;
  const all = Promise.withResolvers<void>();
  const list = JSON.parse((await mustCall(client, 'GET', `${base}?limit=1`)).toString()) as {
    metadata: { resourceVersion: string };
  };
  const path = `${base}?watch=1&resourceVersion=${list.metadata.resourceVersion}`;
  const stops = Array.from({ length: watchers }, () =>
    client.stream(path, (line) => {
      if (!line.startsWith('{"type":"MODIFIED"')) return;
      seen += 1;
      if (seen === watchers * objects) all.resolve();
    }),
  );
  await sleep(500);
  const started = performance.now();
  await timed(objects, connections, update);
  await all.promise;
  const seconds = (performance.now() - started) / 1000;
  for (const end of stops) end();
  return (watchers * objects) / seconds;
}

async function services(client: LoadClient, existing: number, measured: number): Promise<number> {
  const base = '/api/v1/namespaces/default/services';
  const create = async (i: number): Promise<void> => {
    await mustCall(client, 'POST', base, {
      metadata: { name: `s-${i}` },
      spec: { ports: [{ name: 'http', port: 80, targetPort: 8080 }] },
    });
  };
  await timed(existing, connections, create);
  return measured / (await timed(measured, connections, (i) => create(existing + i)));
}

/** Runs all rows on one fresh control plane. */
export async function benchApi(): Promise<Row[]> {
  const plane = await startBenchedControlPlane();
  const { client, child } = plane;
  try {
    const rows: Row[] = [
      { work: 'apiserver: cold start to /readyz', unit: 's', berth: plane.startSeconds, budget: '<= 1 s' },
    ];
    const floor = await measureFloor(plane.dir);
    const base = '/api/v1/namespaces/default/configmaps';
    const body = (i: number, extra: object = {}) => ({
      metadata: { name: `c-${i}`, labels: { i: `${i % 10}` } },
      data: { pad, ...extra },
    });
    const rate = async (count: number, job: (index: number) => Promise<void>) =>
      count / (await timed(count, connections, job));
    const add = (work: string, berth: number, budget: string, floorRate?: number) =>
      rows.push({ work, unit: '/s', berth, floor: floorRate, budget });
    add(
      'create 1 KB ConfigMaps, 16 connections',
      await rate(objects, async (i) => void (await mustCall(client, 'POST', base, body(i)))),
      '2 x upstream (1,570 /s)',
      floor.put,
    );
    add(
      'get',
      await rate(objects, async (i) => void (await mustCall(client, 'GET', `${base}/c-${i}`))),
      '2 x upstream (3,220 /s)',
      floor.get,
    );
    add(
      'list 2,000 x 1 KB',
      await rate(60, async () => void (await mustCall(client, 'GET', base))),
      '2 x upstream (55 /s)',
      floor.list,
    );
    add(
      'list 200 of 2,000 by label',
      await rate(200, async () => void (await mustCall(client, 'GET', `${base}?labelSelector=i%3D3`))),
      '1.5 x upstream (457 /s)',
    );
    add(
      'update',
      await rate(objects, async (i) => void (await mustCall(client, 'PUT', `${base}/c-${i}`, body(i, { v: 'u' })))),
      '2.5 x upstream (1,160 /s)',
      floor.put,
    );
    const fan = await fanOut(
      client,
      base,
      async (i) => void (await mustCall(client, 'PUT', `${base}/c-${i}`, body(i, { v: 'w' }))),
    );
    rows.push({
      work: 'watch fan-out, 20 watchers',
      unit: 'events/s',
      berth: fan,
      budget: '2.5 x upstream (23,000 events/s)',
    });
    add(
      'delete',
      await rate(objects, async (i) => void (await mustCall(client, 'DELETE', `${base}/c-${i}`))),
      '3 x upstream (1,740 /s)',
      floor.remove,
    );
    add('services created, at 10,000 existing', await services(client, 10_000, 1000), '5 x upstream (315 /s)');
    rows.push({
      work: 'control plane memory after all this',
      unit: 'MB',
      berth: residentMb(child.pid ?? 0),
      budget: '-',
    });
    return rows;
  } finally {
    await stopBenchedControlPlane(plane);
  }
}
