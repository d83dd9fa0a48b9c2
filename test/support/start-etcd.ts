// etcd from Debian's package, one member or several, on free ports of loopback.
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createEtcdClient, type EtcdClient } from '../../control-plane-lite/storage/etcd/etcd-client.ts';
import { eventually } from './eventually.ts';

export const etcdUnavailable =
  spawnSync('etcd', ['--version']).status === 0 ? undefined : 'there is no etcd on this machine: install etcd-server';

export interface EtcdCluster extends AsyncDisposable {
  /** Of all members, comma separated. */
  urls: string;
  connect(): EtcdClient;
  /** Kills a member at once; the function returned starts it again on its data. */
  kill(member: number): Promise<() => void>;
}

const noTls = { caPem: undefined, certPem: undefined, keyPem: undefined };

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** Resolves when every member answers. */
export async function startEtcd(memberCount = 1): Promise<EtcdCluster> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-etcd-'));
  const ports = await freePorts(2 * memberCount);
  const members = Array.from({ length: memberCount }, (_, index) => ({
    name: `m${index}`,
    url: `http://127.0.0.1:${ports[2 * index]}`,
    peer: `http://127.0.0.1:${ports[2 * index + 1]}`,
  }));
  const initial = members.map(({ name, peer }) => `${name}=${peer}`).join(',');

  function start({ name, url, peer }: (typeof members)[number]): () => Promise<void> {
    const args = [
      `--name=${name}`,
      `--data-dir=${join(dir, name)}`,
      `--listen-client-urls=${url}`,
      `--advertise-client-urls=${url}`,
      `--listen-peer-urls=${peer}`,
      `--initial-advertise-peer-urls=${peer}`,
      `--initial-cluster=${initial}`,
    ];
    const child = spawn('etcd', args, { stdio: 'ignore' });
    const ended = new Promise((resolve) => child.once('close', resolve));
    return async () => {
      child.kill('SIGKILL');
      await ended;
    };
  }

  const stops = members.map(start);
  const cluster: EtcdCluster = {
    urls: members.map(({ url }) => url).join(','),
    connect: () => createEtcdClient(cluster.urls, noTls),
    kill: async (index) => {
      await stops[index]?.();
      return () => {
        const member = members[index];
        if (member !== undefined) stops[index] = start(member);
      };
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(stops.map((stop) => stop()));
      await rm(dir, { recursive: true, force: true });
    },
  };
  for (const { url } of members) {
    const client = createEtcdClient(url, noTls);
    try {
      await eventually(`an answer of etcd at ${url}`, () => client.range({ key: Buffer.from('x') }), 60_000, 100);
    } finally {
      client.close();
    }
  }
  return cluster;
}
