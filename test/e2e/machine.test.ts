// A machine with a kernel and a systemd of its own becomes a node from the package, works, and goes away again.
import assert from 'node:assert/strict';
import { copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { buildImages } from '../../packaging/images/build-images.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createUmlMachine, machinesUnavailable, type UmlMachine } from '../support/uml-machine.ts';

const skip = clustersUnavailable() ?? machinesUnavailable() ?? false;
const project = join(import.meta.dirname, '../..');
const nodeName = 'machine';
const image = 'localhost/berth/busybox:1';

const cni = {
  cniVersion: '0.4.0',
  name: 'test',
  plugins: [
    {
      type: 'bridge',
      bridge: 'cni0',
      isGateway: true,
      ipMasq: false,
      ipam: { type: 'host-local', ranges: [[{ subnet: '10.248.0.0/24' }]], routes: [{ dst: '0.0.0.0/0' }] },
    },
  ],
};

/** What uninstalling must leave as it was. */
const inventory = [
  'iptables-save | grep -E "^-|^:[^ ]+ -" | sed "s/ .[0-9:]*.$//"',
  'ip -brief link | cut -d" " -f1 | grep -v ^veth',
  'findmnt -rno TARGET | sort',
  'ls /run/netns 2>/dev/null',
  'find /sys/fs/cgroup -type d -name "*kubepods*"',
  'systemctl list-unit-files --no-legend | grep -E "berth|kube"',
  'find /etc /opt /usr/local /var/lib/kubelet /var/lib/kube-proxy /var/log/pods /var/log/containers /var/lib/cni /var/lib/berth-install 2>/dev/null | sort',
].join('; echo --; ');

describe('a machine under systemd', { skip }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'berth-package-'));
  let cluster: TestCluster;
  let machine: UmlMachine;
  let before_: string[] = [];

  const on = async (script: string, timeoutMs?: number): Promise<string> => {
    const { exitCode, stdout, stderr } = await machine.run(script, timeoutMs);
    assert.equal(exitCode, 0, `${script}\n${stdout}\n${stderr}`);
    return stdout;
  };
  const node = async (): Promise<Node> => JSON.parse(await cluster.kubectl('get', 'node', nodeName, '-o', 'json'));
  const pod = async (name: string): Promise<Pod> => JSON.parse(await cluster.kubectl('get', 'pod', name, '-o', 'json'));
  const condition = ({ status }: Node | Pod, type: string) => status?.conditions?.find((item) => item.type === type);
  const ready = (found: Node | Pod): boolean => condition(found, 'Ready')?.status === 'True';
  const containerOf = async (name: string) => (await pod(name)).status?.containerStatuses?.[0]?.containerID ?? '';
  const journal = async () => (await machine.run('journalctl -u berth-agent --no-pager | tail -40')).stdout;

  const foreign = 'iptables -t nat -N FOREIGN; iptables -t nat -A PREROUTING -j FOREIGN; mount -t tmpfs foreign /mnt';
  const takeInventory = async () => (await on(`${inventory}; true`)).split('\n');

  async function waitReady(name: string): Promise<void> {
    await eventually(`pod ${name}`, async () => ready(await pod(name)), 60_000).catch(async (error: unknown) =>
      assert.fail(`${error}\n${JSON.stringify((await pod(name)).status)}\n${await journal()}`),
    );
  }

  async function createPod(name: string, priority = {}): Promise<void> {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        nodeName,
        terminationGracePeriodSeconds: 2,
        tolerations: [{ operator: 'Exists' }],
        containers: [
          { name: 'c', image, command: ['sh', '-c', 'trap "exit 0" TERM; echo up; while :; do sleep 0.2; done'] },
        ],
        ...priority,
      },
    });
  }

  async function importImages(): Promise<void> {
    await on(
      'until ctr version >/dev/null 2>&1; do sleep 0.2; done; for f in /root/images/*.tar; do ctr -n k8s.io images import $f; done',
      120_000,
    );
  }

  before(async () => {
    const run = (...args: string[]) => execOrThrow(systemExec, join(project, 'packaging/node'), args, { cwd: project });
    await run('packaging/build.ts');
    await run('packaging/deb/build.ts', '--output', directory);
    cluster = await startTestCluster();
    machine = await createUmlMachine({ name: nodeName, namespace: cluster.namespace, prefix: '10.247.0' });
    mkdirSync(join(machine.root, 'root/images'), { recursive: true });
    await buildImages(systemExec, join(machine.root, 'root/images'));
    const [file = ''] = readdirSync(directory);
    copyFileSync(join(directory, file), join(machine.root, 'root/berth.deb'));
    machine.put('etc/cni/net.d/10-test.conflist', JSON.stringify(cni));
    await machine.boot();
    await importImages();
  });
  after(async () => {
    await machine?.[Symbol.asyncDispose]();
    await cluster?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  it('gets its programs and units from the package', async () => {
    await on('dpkg -i /root/berth.deb', 120_000);
    assert.match(await on('berth --version'), /Kubernetes v1\.36/);
    assert.match(await on('systemctl cat berth-agent.service berth-proxy.service'), /Type=notify/);
    assert.equal((await on('systemctl is-enabled berth-agent || true')).trim(), 'disabled');
    await on(foreign);
    before_ = await takeInventory();
  });

  it('joins with a token, under systemd', async () => {
    const { stdout } = await cluster.berth([
      'token',
      'create',
      '--kubeconfig',
      cluster.layout.adminKubeconfig,
      '--server',
      'https://10.245.0.1:6443',
    ]);
    const said = await on(`${stdout.trim()} --node-name ${nodeName} --cgroup-driver systemd`, 90_000);
    assert.match(said, /started berth-agent.service berth-proxy.service/);
    await eventually('a ready node', async () => ready(await node()), 60_000).catch(async (error: unknown) =>
      assert.fail(`${error}\n${await journal()}`),
    );
    for (const unit of ['berth-agent', 'berth-proxy']) {
      await eventually(unit, async () => (await on(`systemctl is-active ${unit} || true`)).trim() === 'active').catch(
        async (error: unknown) => assert.fail(`${error}\n${await on(`systemctl status ${unit} || true`)}`),
      );
    }
    assert.match(await on('systemctl show -p WatchdogUSec berth-agent'), /2min/);
  });

  it('runs pods', async () => {
    await createPod('there');
    await waitReady('there');
    assert.equal((await cluster.kubectl('logs', 'there')).trim(), 'up');
    assert.match(await on('find /sys/fs/cgroup/kubepods.slice -name "*.scope"'), /cri-containerd/);
  });

  it('goes on with its pods while the package is upgraded', async () => {
    const containerId = await containerOf('there');
    const agent = (await on('systemctl show -p MainPID --value berth-agent')).trim();
    await on('dpkg -i /root/berth.deb', 120_000);
    await eventually(
      'a new agent',
      async () => {
        const [pid, state] = (await on('systemctl show -p MainPID,ActiveState --value berth-agent')).trim().split('\n');
        return pid !== agent && state === 'active';
      },
      60_000,
    );
    assert.equal(await containerOf('there'), containerId);
    assert.equal((await pod('there')).status?.containerStatuses?.[0]?.restartCount, 0);
  });

  it('has units that systemd finds nothing wrong with, and ends an agent that hangs', async () => {
    assert.equal(
      (await machine.run('systemd-analyze verify --man=no berth-agent.service berth-proxy.service')).stderr,
      '',
    );
    const dropIn = '/run/systemd/system/berth-agent.service.d';
    const soon = '[Service]\\nWatchdogSec=6\\nTimeoutStopSec=2\\n';
    await on(`mkdir -p ${dropIn}; printf '${soon}' > ${dropIn}/soon.conf; systemctl daemon-reload`);
    await on('systemctl restart berth-agent', 60_000);
    const pid = (await on('systemctl show -p MainPID --value berth-agent')).trim();
    await systemClock.sleep(10_000);
    assert.equal((await on('systemctl show -p MainPID --value berth-agent')).trim(), pid, 'a healthy agent stays');
    await on(`kill -STOP ${pid}`);
    await eventually(
      'another agent',
      async () => {
        const [next, state] = (await on('systemctl show -p MainPID,ActiveState --value berth-agent'))
          .trim()
          .split('\n');
        return next !== pid && next !== '0' && state === 'active';
      },
      60_000,
    );
    await on(`rm -r ${dropIn}; systemctl daemon-reload; systemctl restart berth-agent`, 60_000);
    assert.equal((await pod('there')).status?.containerStatuses?.[0]?.restartCount, 0);
  });

  it('is found healthy by the doctor', async () => {
    const { exitCode, stdout } = await machine.run('berth doctor -o json');
    const { findings } = JSON.parse(stdout) as { findings: { level: string; check: string; message: string }[] };
    assert.deepEqual(
      findings.filter(({ level }) => level === 'error'),
      [],
    );
    assert.equal(exitCode, 0);
    for (const check of ['runtime', 'cni', 'certificates', 'apiserver', 'clock', 'disk', 'dns']) {
      assert.ok(
        findings.some((finding) => finding.check === check),
        `${check} is among the findings`,
      );
    }
  });

  it('starts its pods again while the API server cannot be reached', async () => {
    const id = (await containerOf('there')).replace('containerd://', '');
    assert.equal(await on('stat -c %a /var/lib/kubelet/berth/pods.json'), '600\n');
    await on('systemctl stop berth-agent');
    await machine.cutOff(true);
    try {
      await on(`ctr -n k8s.io task kill -s KILL -a ${id}`);
      await on('systemctl start --no-block berth-agent');
      const running = 'ctr -n k8s.io task ls | grep -c RUNNING';
      await eventually('a new container', async () => (await machine.run(running)).stdout.trim() === '2', 60_000).catch(
        async (error: unknown) => assert.fail(`${error}\n${await journal()}`),
      );
    } finally {
      await machine.cutOff(false);
    }
    await eventually('the new container', async () => (await containerOf('there')) !== `containerd://${id}`, 60_000);
    await waitReady('there');
    assert.equal((await pod('there')).status?.containerStatuses?.[0]?.restartCount, 1);
  });

  it('goes on through a restart of the runtime, a clock that jumps and a time without the cluster', async () => {
    const id = await containerOf('there');
    await on('systemctl restart containerd', 60_000);
    await on('date -s "+2 hours" >/dev/null; sleep 3; date -s "-2 hours" >/dev/null');
    await machine.cutOff(true);
    try {
      await eventually('a node nobody hears of', async () => !ready(await node()), 120_000, 500);
    } finally {
      await machine.cutOff(false);
    }
    await eventually('the node again', async () => ready(await node()), 90_000, 500);
    await waitReady('there');
    assert.equal(await containerOf('there'), id);
    assert.equal((await pod('there')).status?.containerStatuses?.[0]?.restartCount, 1);
    await waitReady('there');
    assert.equal((await cluster.kubectl('exec', 'there', '--', 'echo', 'well')).trim(), 'well');
  });

  it('ends its pods before it powers off, and is not ready meanwhile', async () => {
    const periods = 'shutdownGracePeriod: 12s\nshutdownGracePeriodCriticalPods: 4s\n';
    await on(`printf '${periods}' >> /var/lib/kubelet/config.yaml; systemctl restart berth-agent`);
    await eventually('a lock', async () => (await on('systemd-inhibit --list')).includes('kubelet'), 30_000).catch(
      async (error: unknown) => assert.fail(`${error}\n${await journal()}`),
    );
    let message = '';
    const off = machine.off(90_000);
    // Told when it is awaited, below.
    off.catch(() => undefined);
    await machine.run('(sleep 0.2; systemctl poweroff) >/dev/null 2>&1 &');
    await eventually('a node that is going', async () => {
      const found = condition(await node(), 'Ready');
      message = found?.message ?? '';
      return found?.status === 'False';
    });
    assert.match(message, /node is shutting down/);
    await off;
    const { status } = await pod('there');
    assert.equal(status?.phase, 'Failed');
    assert.equal(status?.reason, 'Terminated');
    assert.equal(status?.message, 'Pod was terminated in response to imminent node shutdown.');
    const disruption = status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual([disruption?.status, disruption?.reason], ['True', 'TerminationByKubelet']);
  });

  it('is a node again when it is switched on', async () => {
    await machine.boot();
    await on(foreign);
    await importImages();
    await cluster.kubectl('delete', 'pod', 'there', '--grace-period=0', '--force');
    await createPod('again');
    await waitReady('again');
    assert.ok(ready(await node()));
  });

  it('is left as it was by uninstall, with what belongs to others', async () => {
    assert.match(
      await on('berth uninstall --dry-run'),
      /stop and disable berth-agent.service\nstop and remove the node's pods/,
    );
    await on('berth uninstall', 120_000);
    assert.deepEqual(await takeInventory(), before_);
    assert.match(await on('findmnt -no SOURCE /mnt'), /foreign/);
    await on('berth install --names kubelet');
    assert.match(await on('systemctl cat kubelet.service'), /ExecStart=\/usr\/lib\/berth\/packaging\/berth agent/);
    assert.equal((await on('systemctl is-enabled kubelet.service kube-proxy.service')).trim(), 'enabled\nenabled');
    await on('berth uninstall', 120_000);
    assert.deepEqual(await takeInventory(), before_);
    await on('apt-get -qq purge -y berth 2>/dev/null || dpkg --purge berth', 60_000);
    assert.equal((await machine.run('ls /usr/lib/berth /usr/bin/berth 2>/dev/null')).stdout, '');
  });
});
