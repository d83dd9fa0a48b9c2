import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { serversOf } from '#kube/client/kubeconfig-servers.ts';
import type { Kubeconfig } from '#kube/client/kubeconfig-types.ts';
import { UsageError } from '#kube/process/flags.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { discoverAmong, discoverByFile, tokenInFile } from '../../../cli/join/discover-cluster.ts';
import { joinPaths, planNodeFiles, podNetworkArguments } from '../../../cli/join/node-files.ts';

const data = (text: string) => Buffer.from(text).toString('base64');

describe('discovery among several API servers', () => {
  const refuse = async (): Promise<never> => {
    throw Object.assign(new Error('connect'), { code: 'ECONNREFUSED' });
  };

  it('takes the first that can be reached, and keeps the others in their order', async () => {
    const found = await discoverAmong(['https://a', 'https://b', 'https://c'], async (server) =>
      server === 'https://a' ? refuse() : { servers: [server], caPem: `CA of ${server}` },
    );
    assert.deepEqual(found, { servers: ['https://b', 'https://a', 'https://c'], caPem: 'CA of https://b' });
  });

  it('does not pass over a server that cannot prove itself', async () => {
    const asked: string[] = [];
    const attempt = discoverAmong(['https://a', 'https://b'], async (server) => {
      asked.push(server);
      throw new UsageError('its signature is wrong');
    });
    await assert.rejects(attempt, /signature/);
    assert.deepEqual(asked, ['https://a']);
  });

  it('says what kept it from the last one when none can be reached', async () => {
    await assert.rejects(discoverAmong(['https://a', 'https://b'], refuse), { code: 'ECONNREFUSED' });
  });
});

describe('a discovery file', () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-discovery-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  const write = (clusters: object[], current?: string): string => {
    const path = join(directory, 'file');
    const contexts = current === undefined ? [] : [{ name: 'c', context: { cluster: current, user: '' } }];
    writeFileSync(path, JSON.stringify({ kind: 'Config', clusters, contexts, 'current-context': 'c' }));
    return path;
  };
  const cluster = (name: string, ca: string, more = {}) => ({
    name,
    cluster: { server: `https://${name}:6443`, 'certificate-authority-data': data(ca), ...more },
  });

  it('gives all servers of one authority, those of the current cluster first', () => {
    const path = write([cluster('a', 'CA'), cluster('other', 'OTHER'), cluster('b', 'CA')], 'b');
    assert.deepEqual(discoverByFile(path), { servers: ['https://b:6443', 'https://a:6443'], caPem: 'CA' });
  });

  it('gives the servers of the extension that a joined node has', () => {
    const extensions = [{ name: 'berth-other-servers', extension: { servers: ['https://z:6443'] } }];
    assert.deepEqual(discoverByFile(write([cluster('a', 'CA', { extensions })])).servers, [
      'https://a:6443',
      'https://z:6443',
    ]);
  });

  it('may hold the token of its user', () => {
    const path = write([cluster('a', 'CA')], 'a');
    assert.equal(tokenInFile(path), undefined);
    const file = JSON.parse(readFileSync(path, 'utf8'));
    file.users = [{ name: '', user: { token: 'abcdef.0123456789abcdef' } }];
    writeFileSync(path, JSON.stringify(file));
    assert.equal(tokenInFile(path), 'abcdef.0123456789abcdef');
  });

  it('without an authority is refused', () => {
    assert.throws(() => discoverByFile(write([{ name: 'a', cluster: { server: 'https://a' } }])), /no authority/);
  });
});

describe('the kubeconfigs of a node', () => {
  const choices = {
    nodeName: 'n',
    runtimeEndpoint: 'unix:///run/containerd/containerd.sock',
    cgroupDriver: 'systemd',
    clusterDns: '10.96.0.10',
    clusterDomain: 'cluster.local',
    clusterCidr: undefined,
    podNetworkConfDir: undefined,
  } as const;
  const clustersIn = (servers: string[]) =>
    planNodeFiles({ servers, caPem: 'CA' }, 'abcdef.0123456789abcdef', joinPaths('/'), choices)
      .filter(({ path }) => /kube(let|config)\.conf$/.test(path))
      .map(({ content }) => (parseYaml(content) as Kubeconfig).clusters[0]?.cluster);

  it('name every server, the first where all programs look', () => {
    const found = clustersIn(['https://a:1', 'https://b:1']);
    assert.equal(found.length, 2);
    for (const item of found) {
      assert.equal(item?.server, 'https://a:1');
      assert.deepEqual(item === undefined ? [] : serversOf(item), ['https://a:1', 'https://b:1']);
    }
  });

  it('have no extension for one server', () => {
    for (const item of clustersIn(['https://a:1'])) assert.equal(item?.extensions, undefined);
  });
});

describe('the flags of a joined proxy', () => {
  it('are none where it makes no pod network', () => {
    assert.deepEqual(podNetworkArguments(undefined), []);
  });

  it('name the directory of CNI only where it is not the usual one', () => {
    assert.deepEqual(podNetworkArguments('/etc/cni/net.d'), ['--pod-network', '--network-policy']);
    assert.deepEqual(podNetworkArguments('/opt/cni/conf').slice(2), ['--pod-network-cni-conf-dir=/opt/cni/conf']);
  });
});
