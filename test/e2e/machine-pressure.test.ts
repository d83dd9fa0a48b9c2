// A machine that is a node of a cluster runs out of disk space, of memory and of the time of its certificates: what must
// go, goes, what is critical stays, and it is a node as before in the end.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, afterEach, before, describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import {
  clientAuth,
  issueLeaf,
  leafLifetimeMs,
  serverAuth,
} from '../../control-plane-lite/pki/certificate-authority.ts';
import { writeOciArchive } from '../../packaging/images/oci-archive.ts';
import { eventually } from '../support/eventually.ts';
import {
  conditionOf,
  type MachineNode,
  machineNodesUnavailable,
  startMachineNode,
  taintsOf,
} from '../support/machine-node.ts';
import { waitTracesOf } from '../support/node-traces.ts';

const skip = machineNodesUnavailable() ?? false;
const nodeName = 'pressed';
const unusedImage = 'example.test/unused:1';
const unusedMib = 60;

const configuration = `evictionPressureTransitionPeriod: 10s
evictionHard: { memory.available: 250Mi, nodefs.available: 15%, imagefs.available: 15% }
serverTLSBootstrap: true
`;
const keeps = (medium?: string) => ({
  spec: { volumes: [{ name: 'data', emptyDir: medium === undefined ? {} : { medium } }] },
  container: { volumeMounts: [{ name: 'data', mountPath: '/data' }] },
});
const critical = { priorityClassName: 'system-node-critical' };

describe('a machine that runs out', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-pressed-'));
  let held: MachineNode;

  const pressure = async (type: string) => conditionOf(await held.node(), type)?.status;

  async function waitEvicted(name: string): Promise<void> {
    await eventually(
      `the eviction of ${name}`,
      async () => {
        const { status } = await held.pod(name);
        return status?.phase === 'Failed' && status.reason === 'Evicted';
      },
      60_000,
      250,
    ).catch(async (error: unknown) => assert.fail(`${error}\n${await held.journal()}`));
  }

  async function waitNormal(type: string): Promise<void> {
    await eventually(
      `the end of ${type}`,
      async () => (await pressure(type)) === 'False' && (await taintsOf(held)).length === 0,
      60_000,
      500,
    );
  }

  async function explain(name: string): Promise<string> {
    const args = ['explain', 'pod', `default/${name}`, '--kubeconfig', held.cluster.layout.adminKubeconfig];
    return (await held.cluster.berth(args)).stdout;
  }

  async function approveServing(): Promise<void> {
    const { items } = JSON.parse(await held.cluster.kubectl('get', 'csr', '-o', 'json')) as {
      items: { metadata: { name: string }; spec: { signerName: string }; status?: { conditions?: unknown[] } }[];
    };
    for (const { metadata, spec, status } of items) {
      if (spec.signerName !== 'kubernetes.io/kubelet-serving' || status?.conditions !== undefined) continue;
      await held.cluster.kubectl('certificate', 'approve', metadata.name);
    }
  }

  /** When the certificate that the agent's server shows ends. */
  async function servedUntilMs(): Promise<number> {
    const program = `
      const socket = require('node:tls').connect({ host: '127.0.0.1', port: 10250, rejectUnauthorized: false }, () => {
        const { valid_to, issuer } = socket.getPeerCertificate();
        console.log(JSON.stringify({ until: valid_to, by: issuer.CN }));
        socket.destroy();
      });`;
    held.machine.put('root/served.cjs', program);
    const { until, by } = JSON.parse(await held.on('/usr/lib/berth/packaging/node /root/served.cjs')) as {
      until: string;
      by: string;
    };
    return by === 'kubernetes' ? Date.parse(until) : 0;
  }

  async function waitServed(): Promise<void> {
    await eventually(
      'a serving certificate of the cluster',
      async () => {
        await approveServing();
        return (await servedUntilMs()) > systemClock.now();
      },
      60_000,
      1000,
    );
  }

  before(async () => {
    held = await startMachineNode({ name: nodeName, prefix: '10.251.0' });
    const root = join(directory, 'rootfs');
    mkdirSync(root);
    writeFileSync(join(root, 'bytes'), Buffer.alloc(unusedMib * 1024 * 1024, 'berth'));
    const outputPath = join(held.machine.root, 'root/images/unused.tar');
    await writeOciArchive(systemExec, { names: [unusedImage], rootDir: root, config: {}, outputPath });
    await held.on('ctr -n k8s.io images import /root/images/unused.tar', 60_000);
    await held.install();
    await held.join('--no-start');
    held.machine.put('root/configuration', configuration);
    await held.on(
      'cat /root/configuration >> /var/lib/kubelet/config.yaml; systemctl start berth-agent berth-proxy',
      90_000,
    );
    await held.waitNodeReady();
  });
  afterEach(async () => {
    // What one test has filled must not fail the others.
    await held?.machine.run('rm -f /var/lib/kubelet/filler* /var/lib/containerd/filler');
  });
  after(async () => {
    await held?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  it('runs a critical pod, with a serving certificate of the cluster', async () => {
    const { spec, container } = keeps('Memory');
    await held.createPod('stays', { ...spec, ...critical }, container);
    await held.waitReady('stays');
    await waitServed();
    await waitTracesOf(1, held);
  });

  it('removes images that nothing uses when their disk is full, and that is enough', async () => {
    const images = async () => held.on('ctr -n k8s.io images ls -q');
    const id = await held.containerOf('stays');
    // A little less than what is wanted is left: the unused image is more than what is missing.
    const fill = 'size=$(df --output=size -B1M . | tail -1); free=$(df --output=avail -B1M . | tail -1)';
    await held.on(
      `cd /var/lib/containerd; ${fill}; fallocate -l $((free - size * 15 / 100 + ${unusedMib / 2}))M filler`,
    );
    await eventually('pressure', async () => (await pressure('DiskPressure')) === 'True', 60_000, 250);
    await eventually('the end of the image', async () => !(await images()).includes(unusedImage), 60_000, 500).catch(
      async (error: unknown) => assert.fail(`${error}\n${await held.journal(10)}`),
    );
    await waitNormal('DiskPressure');
    assert.match(await images(), /localhost\/berth\/pause:1/);
    assert.equal(await held.containerOf('stays'), id);
    await held.on('rm /var/lib/containerd/filler');
  });

  it('evicts who fills its disk to the last byte, keeps what is critical, and loses nothing that it keeps', async () => {
    const { spec, container } = keeps();
    await held.createPod('writes', spec, container);
    await held.waitReady('writes');
    await held.cluster.kubectl('exec', 'writes', '--', 'dd', 'if=/dev/zero', 'of=/data/f', 'bs=1M', 'count=60');
    const id = await held.containerOf('stays');
    await held.on('dd if=/dev/zero of=/var/lib/kubelet/filler bs=1M 2>/dev/null || true');
    await eventually('pressure', async () => (await pressure('DiskPressure')) === 'True', 60_000, 250);
    await eventually('a taint', async () => (await taintsOf(held)).includes('node.kubernetes.io/disk-pressure'));
    await waitEvicted('writes');
    const told = await explain('writes');
    assert.match(told, /signal +nodefs\.available/);
    assert.match(told, /ranking +default\/writes: uses 60.* chosen/);
    await eventually(
      'a record that is kept, now that the pod has gone',
      async () => (await held.machine.run('cat /var/lib/kubelet/evictions.json')).stdout.includes('"writes"'),
      60_000,
      1000,
    );
    // Full again: nothing can be written while the agent starts.
    await held.on(
      'dd if=/dev/zero of=/var/lib/kubelet/filler2 bs=1M 2>/dev/null; systemctl restart berth-agent',
      90_000,
    );
    assert.equal(await held.containerOf('stays'), id);
    await held.on('rm /var/lib/kubelet/filler /var/lib/kubelet/filler2');
    await waitNormal('DiskPressure');
    assert.equal(await held.on('systemctl show -p NRestarts --value berth-agent'), '0\n', 'it has not crashed');
    for (const file of ['berth/pods.json', 'allocated_pods_state', 'actuated_pods_state', 'evictions.json']) {
      JSON.parse(await held.on(`cat /var/lib/kubelet/${file}`));
    }
    assert.deepEqual([await held.containerOf('stays'), await held.restartsOf('stays')], [id, 0]);
    assert.match(await explain('writes'), /signal +nodefs\.available/, 'also after a restart');
    await held.cluster.kubectl('delete', 'pod', 'writes', '--timeout=60s');
    await waitTracesOf(1, held);
  });

  it('evicts who takes the memory, and nobody else', async () => {
    const { spec, container } = keeps('Memory');
    const amounts = { cpu: '200m', memory: '32Mi' };
    await held.createPod('takes', spec, container);
    await held.createPod('modest');
    await held.createPod('guaranteed', {}, { resources: { requests: amounts, limits: amounts } });
    for (const name of ['takes', 'modest', 'guaranteed']) await held.waitReady(name);
    const others = ['stays', 'modest', 'guaranteed'];
    const ids = await Promise.all(others.map(held.containerOf));
    const take = 'i=0; while [ $i -lt 32 ]; do dd if=/dev/zero of=/data/$i bs=1M count=20; i=$((i+1)); sleep 0.2; done';
    const taking = held.cluster.tryKubectl(['exec', 'takes', '--', 'sh', '-c', take]);
    await eventually('pressure', async () => (await pressure('MemoryPressure')) === 'True', 90_000, 250).catch(
      async (error: unknown) => assert.fail(`${error}\n${await held.on('free -m')}\n${await held.journal()}`),
    );
    await eventually('a taint', async () => (await taintsOf(held)).includes('node.kubernetes.io/memory-pressure'));
    await waitEvicted('takes');
    await taking;
    assert.match(await explain('takes'), /signal +memory\.available[\s\S]*ranking +default\/takes: .* chosen/);
    await waitNormal('MemoryPressure');
    assert.deepEqual(await Promise.all(others.map(held.containerOf)), ids);
    await held.cluster.kubectl('delete', 'pod', 'takes', 'modest', 'guaranteed', '--timeout=60s');
    await waitTracesOf(1, held);
  });

  it('has certificates again after they ran out while the cluster could not be reached', async () => {
    const [id, before_] = [await held.containerOf('stays'), await held.restartsOf('stays')];
    const { pkiDir } = held.cluster.layout;
    const read = (name: string) => readFileSync(join(pkiDir, name), 'utf8');
    const authority = { certPem: read('ca.crt'), keyPem: read('ca.key') };
    const subject = { commonName: `system:node:${nodeName}`, organizations: ['system:nodes'] };
    const leftMs = 25_000;
    await held.on('systemctl stop berth-agent', 60_000);
    await held.machine.cutOff(true);
    try {
      const untilMs = systemClock.now() + leftMs;
      for (const [prefix, usage, endMs] of [
        ['kubelet-client', clientAuth, untilMs],
        ['kubelet-server', serverAuth, untilMs - 3_600_000],
      ] as const) {
        const request = { ...subject, usages: [usage], dnsNames: [nodeName], ipAddresses: [held.machine.address] };
        const { certPem, keyPem } = await issueLeaf(authority, request, endMs - leafLifetimeMs);
        held.machine.put('root/pair.pem', `${certPem}\n${keyPem}`, 0o600);
        await held.on(
          `cat /root/pair.pem > $(readlink -f /var/lib/kubelet/pki/${prefix}-current.pem); rm /root/pair.pem`,
        );
      }
      await held.on('systemctl start --no-block berth-agent');
      await systemClock.sleep(untilMs + 2000 - systemClock.now());
    } finally {
      await held.machine.cutOff(false);
    }
    await eventually(
      'a certificate that is valid',
      async () => {
        const end = await held.on(
          '/usr/lib/berth/packaging/node -p "new crypto.X509Certificate(fs.readFileSync(\'/var/lib/kubelet/pki/kubelet-client-current.pem\')).validTo"',
        );
        return Date.parse(end) > systemClock.now();
      },
      90_000,
      1000,
    );
    await held.waitNodeReady();
    await waitServed();
    assert.equal((await held.cluster.kubectl('logs', 'stays')).trim(), 'up');
    assert.deepEqual([await held.containerOf('stays'), await held.restartsOf('stays')], [id, before_]);
  });
});
