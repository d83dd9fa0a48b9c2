// A second machine, a network namespace with a runtime of its own, joins a cluster with a token.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { stringify } from 'yaml';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { killCgroup, removeCgroups } from '../../cli/down/cgroups.ts';
import { unmountBelow } from '../../cli/down/mounts.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createNetworkNamespace, type NetworkNamespace } from '../support/network-namespace.ts';
import { startTestContainerd, type TestContainerd } from '../support/test-containerd.ts';

const skip = clustersUnavailable() ?? false;
const berth = join(import.meta.dirname, '../../packaging/berth');
const nodeName = 'joined';

describe('joining a cluster', { skip }, () => {
  const root = mkdtempSync(join(tmpdir(), 'berth-join-'));
  const cgroupRoot = '/berth-join-test';
  /** Where network plugins remember addresses unless they are told otherwise. */
  const ipamDir = '/var/lib/cni/networks/berth';
  const hadAddresses = existsSync(ipamDir);
  let cluster: TestCluster;
  let machine: NetworkNamespace;
  let containerd: TestContainerd;
  let node: ChildProcess | undefined;
  let line: string[] = [];
  let relay: ChildProcess | undefined;

  before(async () => {
    cluster = await startTestCluster();
    machine = await createNetworkNamespace('berth-joined');
    containerd = await startTestContainerd(machine);
    const [here, there] = ['bj0', 'bj1'];
    const ip = (...args: string[]) => execOrThrow(systemExec, 'ip', args);
    await ip(
      '-n',
      cluster.namespace.name,
      'link',
      'add',
      here,
      'type',
      'veth',
      'peer',
      'name',
      there,
      'netns',
      machine.name,
    );
    for (const [name, link, address] of [
      [cluster.namespace.name, here, '10.246.0.1/24'],
      [machine.name, there, '10.246.0.2/24'],
    ] as const) {
      await ip('-n', name, 'address', 'add', address, 'dev', link);
      await ip('-n', name, 'link', 'set', link, 'up');
    }
    await ip('-n', machine.name, 'route', 'add', '10.245.0.0/24', 'via', '10.246.0.1');
    await ip('-n', machine.name, 'route', 'add', 'default', 'via', '10.246.0.1');
    // What an installer would have set up for this machine: the cgroup keeps the test's containers apart.
    mkdirSync(join(root, 'var/lib/kubelet'), { recursive: true });
    const configuration = {
      apiVersion: 'kubelet.config.k8s.io/v1beta1',
      kind: 'KubeletConfiguration',
      authentication: { x509: { clientCAFile: join(root, 'etc/kubernetes/pki/ca.crt') } },
      cgroupRoot,
      cgroupDriver: 'cgroupfs',
      containerRuntimeEndpoint: containerd.endpoint,
      failSwapOn: false,
      podLogsDir: join(root, 'logs'),
      rotateCertificates: true,
    };
    writeFileSync(join(root, 'var/lib/kubelet/config.yaml'), stringify(configuration));
  });
  after(async () => {
    relay?.kill('SIGKILL');
    if (node !== undefined && node.exitCode === null) {
      const ended = once(node, 'exit');
      node.kill('SIGTERM');
      await ended;
    }
    await containerd?.[Symbol.asyncDispose]();
    await machine?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    await unmountBelow(systemExec, [root]);
    await killCgroup(cgroupRoot, systemClock);
    await removeCgroups([cgroupRoot], systemClock);
    rmSync(root, { recursive: true, force: true });
    if (!hadAddresses) rmSync(ipamDir, { recursive: true, force: true });
  });

  async function createPod(name: string): Promise<void> {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        nodeName,
        hostNetwork: true,
        terminationGracePeriodSeconds: 0,
        tolerations: [{ operator: 'Exists' }],
        containers: [{ name: 'c', image: 'localhost/berth/busybox:1', command: ['sleep', '3600'] }],
      },
    });
  }

  it('is prepared by a token that nodes can be given', async () => {
    const { adminKubeconfig } = cluster.layout;
    const { stdout, stderr, exitCode } = await cluster.berth([
      'token',
      'create',
      '--kubeconfig',
      adminKubeconfig,
      '--server',
      'https://10.245.0.1:6443',
    ]);
    assert.equal(exitCode, 0, stderr);
    assert.match(
      stdout,
      /^berth join https:\/\/10\.245\.0\.1:6443 --token [a-z0-9]{6}\.[a-z0-9]{16} --discovery-token-ca-cert-hash sha256:[0-9a-f]{64}\n$/,
    );
    line = stdout.trim().split(' ').slice(1);
    await eventually('the signature of cluster-info', async () =>
      (await cluster.kubectl('get', 'configmap', 'cluster-info', '-n', 'kube-public', '-o', 'yaml')).includes(
        'jws-kubeconfig-',
      ),
    );
  });

  it('refuses a server that does not know the token, and an authority that was not pinned', async () => {
    const [, url = '', , token = '', , pin = ''] = line;
    const attempt = (...args: string[]) =>
      machine.exec(berth, ['join', url, '--root', root, ...args], { env: { BERTH_SOURCES: '1' } });
    const unknown = await attempt('--token', 'aaaaaa.0123456789abcdef', '--discovery-token-ca-cert-hash', pin);
    assert.match(unknown.stderr, /has no cluster-info for token aaaaaa/);
    const forged = await attempt(
      '--token',
      `${token.slice(0, 7)}0123456789abcdef`,
      '--discovery-token-ca-cert-hash',
      pin,
    );
    assert.match(forged.stderr, /its signature is wrong/);
    const other = await attempt('--token', token, '--discovery-token-ca-cert-hash', `sha256:${'0'.repeat(64)}`);
    assert.match(other.stderr, /which is none of the given hashes/);
    const unpinned = await attempt('--token', token);
    assert.match(unpinned.stderr, /--discovery-token-ca-cert-hash is needed/);
    for (const { exitCode } of [unknown, forged, other, unpinned]) assert.equal(exitCode, 1);
  });

  it('gives the machine a certificate, and the cluster a node that runs pods', async () => {
    // An API server of its own, as far as the node can tell, and the first of two.
    const program = join(import.meta.dirname, '../support/relay-program.ts');
    relay = spawn(
      'nsenter',
      [`--net=${cluster.namespace.path}`, process.execPath, program, '10.245.0.1', '6444', '10.245.0.1', '6443'],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    assert.ok(relay.stdout);
    await once(relay.stdout, 'data', { signal: AbortSignal.timeout(10_000) });
    const [command = '', url = '', ...rest] = line;
    const args = [
      command,
      'https://10.245.0.1:6444',
      url,
      ...rest,
      '--root',
      root,
      '--node-name',
      nodeName,
      '--cri-socket',
      containerd.endpoint,
      '--pod-network',
      '--cluster-cidr',
      '10.244.0.0/16',
      '--cni-conf-dir',
      join(containerd.directory, 'cni'),
      '--foreground',
    ];
    node = spawn('nsenter', [`--net=${machine.path}`, berth, ...args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, BERTH_SOURCES: '1' },
    });
    let output = '';
    const collect = (chunk: Buffer) => {
      output += chunk.toString();
    };
    for (const stream of [node.stdout, node.stderr]) stream?.on('data', collect);
    const registered: Node = await eventually('the node', async () =>
      JSON.parse(await cluster.kubectl('get', 'node', nodeName, '-o', 'json')),
    ).catch((error: unknown) => assert.fail(`${error}\n${output}`));
    assert.equal(registered.metadata.name, nodeName);
    const requests = await cluster.kubectl('get', 'csr');
    assert.match(
      requests,
      /kubernetes.io\/kube-apiserver-client-kubelet\s+system:bootstrap:[a-z0-9]{6}\s+.*Approved,Issued/,
    );
    for (const path of ['etc/kubernetes/kubelet.conf', 'etc/kubernetes/bootstrap-kubelet.conf']) {
      assert.equal(statSync(join(root, path)).mode & 0o777, 0o600);
    }
    assert.match(
      readFileSync(join(root, 'etc/kubernetes/kubelet.conf'), 'utf8'),
      /client-certificate: .*kubelet-client-current.pem/,
    );
    const asNode = ['--kubeconfig', join(root, 'etc/kubernetes/kubelet.conf'), 'get', '--raw', '/readyz'];
    assert.equal((await machine.exec('kubectl', asNode)).stdout, 'ok', 'other programs read its kubeconfig');
    await createPod('there');
    await cluster
      .kubectl('wait', '--for=condition=Ready', 'pod/there', '--timeout=60s')
      .catch((error: unknown) => assert.fail(`${error}\n${output.slice(-3000)}`));
    const pod: Pod = JSON.parse(await cluster.kubectl('get', 'pod', 'there', '-o', 'json'));
    assert.equal(pod.status?.hostIP, '10.246.0.2');
    await eventually('rules of the proxy', async () =>
      (await machine.exec('iptables-save', ['-t', 'nat'])).stdout.includes('KUBE-SERVICES'),
    );
    await cluster.kubectl('delete', 'pod', 'there', '--timeout=30s');
  });

  it('gets a pod network through a tunnel, once the cluster lets its proxy read what that takes', async () => {
    const binding = ['clusterrolebinding', 'joined', '--clusterrole=berth:node-network', '--group=system:nodes'];
    await cluster.kubectl('create', ...binding);
    await cluster.kubectl('wait', '--for=condition=Ready', `node/${nodeName}`, '--timeout=60s');
    const [first = ''] = (await cluster.kubectl('get', 'nodes', '-o', 'name')).split('\n').flatMap((name) => {
      return name === '' || name === `node/${nodeName}` ? [] : [name.replace('node/', '')];
    });
    const serve = 'mkdir /w && hostname > /w/index.html && exec httpd -f -p 8080 -h /w';
    for (const [name, on] of [
      ['near', first],
      ['far', nodeName],
    ]) {
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name },
        spec: {
          nodeName: on,
          terminationGracePeriodSeconds: 0,
          containers: [{ name: 'c', image: 'localhost/berth/busybox:1', command: ['sh', '-c', serve] }],
        },
      });
    }
    await cluster.kubectl('wait', '--for=condition=Ready', 'pod/near', 'pod/far', '--timeout=60s');
    const addressOf = async (pod: string) => cluster.kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.podIP}');
    for (const [from, to] of [
      ['near', 'far'],
      ['far', 'near'],
    ] as const) {
      const url = `http://${await addressOf(to)}:8080/`;
      await eventually(`${to} answers ${from}`, async () => {
        const page = await cluster.kubectl('exec', from, '--', 'timeout', '5', 'wget', '-q', '-O', '-', url);
        return page === `${to}\n`;
      });
    }
    const routes = await execOrThrow(machine.exec, 'ip', ['route', 'show', 'proto', '98']);
    assert.match(routes, /dev berth-vxlan/);
    await cluster.kubectl('delete', 'pod', 'near', 'far', '--timeout=60s');
  });

  it('goes on with the second API server when the first is lost', async () => {
    assert.ok(relay);
    const ended = once(relay, 'exit', { signal: AbortSignal.timeout(10_000) });
    relay.kill('SIGKILL');
    await ended;
    const renewed = async () =>
      cluster.kubectl('get', 'lease', nodeName, '-n', 'kube-node-lease', '-o', 'jsonpath={.spec.renewTime}');
    const before_ = await renewed();
    await createPod('later');
    await cluster.kubectl('wait', '--for=condition=Ready', 'pod/later', '--timeout=60s');
    await cluster.kubectl('create', 'service', 'clusterip', 'later', '--tcp=80:80', '--clusterip=10.96.77.77');
    await eventually('rules of a new service', async () =>
      (await machine.exec('iptables-save', [])).stdout.includes('10.96.77.77'),
    );
    await eventually('a lease that is renewed', async () => (await renewed()) !== before_);
    await cluster.kubectl('delete', 'pod', 'later', '--timeout=30s');
  });
});
