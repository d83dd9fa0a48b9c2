// A control plane that is killed again and again, and one whose disk is full again and again, under clients that write:
// what was acknowledged is found, what was refused is not, and what was in the air is one or the other.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { configmaps } from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound, StatusError } from '#kube/errors/status-error.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { eventually } from '../../support/eventually.ts';

const berth = join(import.meta.dirname, '../../../packaging/berth');
const workers = 8;
const namespace = 'default';

/** The value of each object; undefined: there is none. */
type State = string | undefined;

interface Known {
  acknowledged: State;
  /** What came of a write that nobody answered. */
  inDoubt?: { outcome: State };
}

interface Server {
  child: ChildProcess;
  client: ApiClient;
}

async function start(dir: string): Promise<Server> {
  const kubeconfig = join(dir, 'admin.kubeconfig');
  await rm(kubeconfig, { force: true });
  const flags = [
    `--data-dir=${dir}/data`,
    `--pki-dir=${dir}/pki`,
    `--kubeconfig-dir=${dir}`,
    '--bind-address=127.0.0.1',
    '--advertise-address=127.0.0.1',
    '--secure-port=0',
    '--etcd-compaction-interval=1s',
  ];
  const env = { ...process.env, BERTH_SOURCES: '1' };
  const child = spawn(berth, ['control-plane', ...flags], { stdio: 'ignore', env });
  await eventually('a kubeconfig', () => Promise.resolve(existsSync(kubeconfig)), 60_000);
  const client = createClient(loadClientConfig({ exec: systemExec, clock: systemClock, env: {} }, kubeconfig));
  const isReady = () =>
    client.raw({ method: 'GET', path: '/readyz', timeoutMs: 5000 }).then(
      () => true,
      () => false,
    );
  await eventually('the server is ready', isReady, 60_000);
  return { child, client };
}

async function kill({ child, client }: Server): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
  await client.close();
}

/** Creates, changes and deletes objects of its own until told to end. */
async function work(client: ApiClient, worker: number, round: number, known: Map<string, Known>, told: AbortSignal) {
  const signal = AbortSignal.any([told, AbortSignal.timeout(120_000)]);
  for (let step = 0; !signal.aborted; step += 1) {
    const name = `w-${worker}-${step % 7}`;
    const before: Known = known.get(name) ?? { acknowledged: undefined };
    if (before.inDoubt !== undefined) {
      await sleep(20);
      continue;
    }
    const value = `${round}-${step}`;
    const isDeletion = before.acknowledged !== undefined && step % 5 === 4;
    const outcome: State = isDeletion ? undefined : value;
    try {
      if (isDeletion) await client.delete(configmaps, { namespace, name });
      else if (before.acknowledged === undefined)
        await client.create(configmaps, namespace, { metadata: { name }, data: { value } }, { timeoutMs: 5000 });
      else await client.patch(configmaps, { namespace, name }, 'merge', { data: { value } }, { timeoutMs: 5000 });
      known.set(name, { acknowledged: outcome });
    } catch (error) {
      // The server said no: nothing has happened. Otherwise nobody knows.
      if (error instanceof StatusError && error.httpCode === 500) await sleep(20);
      else known.set(name, { ...before, inDoubt: { outcome } });
    }
  }
}

/** Compares what is there with what is known, and settles what was in doubt. */
async function check(client: ApiClient, known: Map<string, Known>): Promise<number> {
  const read = async (name: string): Promise<State> => {
    try {
      return (await client.get(configmaps, { namespace, name })).data?.['value'];
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  };
  for (const [name, { acknowledged, inDoubt }] of known) {
    const found = await read(name);
    const allowed = inDoubt === undefined ? [acknowledged] : [acknowledged, inDoubt.outcome];
    assert.ok(allowed.includes(found), `${name} is ${found}, and may be ${allowed.join(' or ')}`);
    known.set(name, { acknowledged: found });
  }
  const { items } = await client.list(configmaps, { namespace, labelSelector: '' });
  const listed = items.filter(({ metadata }) => metadata.name.startsWith('w-')).length;
  assert.equal(listed, [...known.values()].filter(({ acknowledged }) => acknowledged !== undefined).length);
  return listed;
}

async function withWorkers(
  client: ApiClient,
  round: number,
  known: Map<string, Known>,
  meanwhile: () => Promise<void>,
) {
  const stop = new AbortController();
  const all = Array.from({ length: workers }, (_, worker) => work(client, worker, round, known, stop.signal));
  try {
    await meanwhile();
  } finally {
    stop.abort();
    await Promise.all(all);
  }
}

/** Every worker has written since. */
const written = (known: ReadonlyMap<string, Known>, round: number) =>
  eventually('writes of every worker', async () => {
    const of = (worker: number) =>
      [...known].some(
        ([name, { acknowledged }]) => name.startsWith(`w-${worker}-`) && acknowledged?.startsWith(`${round}-`) === true,
      );
    return Array.from({ length: workers }, (_, worker) => worker).every(of);
  });

describe('a control plane that fails under load', { timeout: 240_000 }, () => {
  it('has every acknowledged write after each of several kills', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'berth-crash-'));
    const known = new Map<string, Known>();
    let server = await start(dir);
    try {
      for (let round = 0; round < 4; round += 1) {
        const { client } = server;
        await withWorkers(client, round, known, async () => {
          await written(known, round);
          const ended = once(server.child, 'exit');
          server.child.kill('SIGKILL');
          await ended;
        });
        await client.close();
        server = await start(dir);
        assert.ok((await check(server.client, known)) > 0);
      }
    } finally {
      await kill(server);
      await rm(dir, { recursive: true, force: true });
    }
  });

  it('refuses writes while its disk is full, serves reads, and has every acknowledged write afterwards', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'berth-full-'));
    await execOrThrow(systemExec, 'mount', ['-t', 'tmpfs', '-o', 'size=24m', 'tmpfs', dir]);
    const ballast = join(dir, 'ballast');
    const known = new Map<string, Known>();
    let server: Server | undefined;
    try {
      server = await start(dir);
      const { client } = server;
      for (let round = 0; round < 3; round += 1) {
        await withWorkers(client, round, known, async () => {
          await written(known, round);
          // The rest of the disk, to the last byte.
          await writeFile(ballast, Buffer.alloc(32 << 20)).catch(() => undefined);
          const refused = async () => {
            const body = { metadata: { generateName: 'large-' }, data: { a: `${Math.random()}`.repeat(10_000) } };
            const answer = await client
              .create(configmaps, 'default', body, { timeoutMs: 5000 })
              .then(() => undefined)
              .catch((error: unknown) => error);
            return answer instanceof StatusError && answer.httpCode === 500 && /full disk/.test(answer.message);
          };
          await eventually('a write is refused with its reason', refused, 60_000);
          const { items } = await client.list(configmaps, { namespace });
          assert.ok(items.length > 0, 'what is there is read');
        });
        await unlink(ballast);
        await check(client, known);
        await eventually('writes again', () =>
          client.create(configmaps, namespace, { metadata: { generateName: 'again-' } }).then(
            () => true,
            () => false,
          ),
        );
      }
      await kill(server);
      server = await start(dir);
      await check(server.client, known);
    } finally {
      if (server !== undefined) await kill(server);
      await execOrThrow(systemExec, 'umount', ['-l', dir]);
      await rm(dir, { recursive: true, force: true });
    }
  });
});
