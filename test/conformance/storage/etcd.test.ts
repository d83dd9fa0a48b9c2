// The store on etcd against the suite of stores, with an etcd of the test's own.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { pino } from 'pino';
import { openEtcdBackend } from '../../../control-plane-lite/storage/etcd/etcd-backend.ts';
import { createEtcdClient } from '../../../control-plane-lite/storage/etcd/etcd-client.ts';
import { describeBackend } from './backend-suite.ts';

const hasEtcd = spawnSync('etcd', ['--version']).status === 0;
const noTls = { caPem: undefined, certPem: undefined, keyPem: undefined };
const logger = pino({ level: 'silent' });

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer();
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}

if (hasEtcd) {
  describe('with an etcd', () => {
    let url = '';
    let stop = async (): Promise<void> => undefined;

    before(async () => {
      const dir = await mkdtemp(join(tmpdir(), 'berth-etcd-'));
      const [port, peer] = [await freePort(), await freePort()];
      url = `http://127.0.0.1:${port}`;
      const urls = ['--listen-client-urls', url, '--advertise-client-urls', url];
      const peers = ['--listen-peer-urls', `http://127.0.0.1:${peer}`];
      const child = spawn('etcd', ['--data-dir', dir, ...urls, ...peers], { stdio: 'ignore' });
      const ended = new Promise((resolve) => child.once('close', resolve));
      stop = async () => {
        child.kill('SIGKILL');
        await ended;
        await rm(dir, { recursive: true, force: true });
      };
      const client = createEtcdClient(url, noTls);
      for (let attempt = 0; attempt < 100; attempt += 1) {
        try {
          await client.range({ key: Buffer.from('x') });
          break;
        } catch {
          // Not up yet: asked again below, and the tests fail clearly if it never comes.
          await delay(100);
        }
      }
      client.close();
    });
    after(() => stop());

    let test = 0;
    describeBackend('etcd', async () => {
      // Every test has a key space of its own.
      const prefix = `/test-${test++}`;
      const open = () => openEtcdBackend(createEtcdClient(url, noTls), logger, { prefix });
      let backend = await open();
      return {
        backend,
        reopen: async () => {
          await backend.close();
          backend = await open();
          return backend;
        },
        dispose: () => backend.close(),
      };
    });
  });
} else {
  it('store on etcd', { skip: 'there is no etcd on this machine: install etcd-server' }, () => undefined);
}
