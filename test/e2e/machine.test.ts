// A machine with a kernel and a systemd of its own becomes a node from the package, works, and goes away again.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { systemClock } from '#kube/process/clock.ts';
import { eventually } from '../support/eventually.ts';
import { prepareByKubeadm } from '../support/kubeadm-node.ts';
import {
  anotherNetwork,
  conditionOf,
  isReady,
  type MachineNode,
  machineNodesUnavailable,
  startMachineNode,
} from '../support/machine-node.ts';

const skip = machineNodesUnavailable() ?? false;

/** What uninstalling must leave as it was. */
const inventory = [
  'iptables-save | grep -E "^-|^:[^ ]+ -" | sed "s/ .[0-9:]*.$//"',
  'ip -brief link | cut -d" " -f1 | grep -v ^veth',
  'findmnt -rno TARGET | sort',
  'ip route; ip -6 route; nft list tables | grep berth',
  'ls /run/netns 2>/dev/null',
  'find /sys/fs/cgroup -type d -name "*kubepods*"',
  'systemctl list-unit-files --no-legend | grep -E "berth|kube"',
  'find /etc /opt /usr/local /var/lib/kubelet /var/lib/kube-proxy /var/log/pods /var/log/containers /var/lib/cni /var/lib/berth-install 2>/dev/null | sort',
].join('; echo --; ');

describe('a machine under systemd', { skip }, () => {
  let held: MachineNode;
  let before_: string[] = [];
  const on = async (script: string, timeoutMs?: number) => held.on(script, timeoutMs);
  const journal = async () => held.journal();

  const foreign = 'iptables -t nat -N FOREIGN; iptables -t nat -A PREROUTING -j FOREIGN; mount -t tmpfs foreign /mnt';
  const takeInventory = async () => (await on(`${inventory}; true`)).split('\n');

  before(async () => {
    held = await startMachineNode({ name: 'machine', prefix: '10.247.0', podNetwork: 'berth' });
  });
  after(async () => {
    await held?.[Symbol.asyncDispose]();
  });

  it('gets its programs and units from the package', async () => {
    await held.install();
    assert.match(await on('berth --version'), /Kubernetes v1\.36/);
    assert.match(await on('systemctl cat berth-agent.service berth-proxy.service'), /Type=notify/);
    assert.equal((await on('systemctl is-enabled berth-agent || true')).trim(), 'disabled');
    await on(foreign);
    before_ = await takeInventory();
  });

  it('joins with a token, under systemd', async () => {
    const binding = ['clusterrolebinding', 'joined', '--clusterrole=berth:node-network', '--group=system:nodes'];
    await held.cluster.kubectl('create', ...binding);
    const joined = await held.join('--pod-network', '--cluster-cidr', '10.244.0.0/16');
    assert.match(joined, /started berth-agent.service berth-proxy.service/);
    await held.waitNodeReady();
    for (const unit of ['berth-agent', 'berth-proxy']) {
      await eventually(unit, async () => (await on(`systemctl is-active ${unit} || true`)).trim() === 'active').catch(
        async (error: unknown) => assert.fail(`${error}\n${await on(`systemctl status ${unit} || true`)}`),
      );
    }
    assert.match(await on('systemctl show -p WatchdogUSec berth-agent'), /2min/);
  });

  it('runs pods', async () => {
    await held.createPod('there');
    await held.waitReady('there');
    assert.equal((await held.cluster.kubectl('logs', 'there')).trim(), 'up');
    assert.match(await on('find /sys/fs/cgroup/kubepods.slice -name "*.scope"'), /cri-containerd/);
  });

  it('connects them with those of the other node by a tunnel between two kernels', async () => {
    const { cluster } = held;
    const nodes = (await cluster.kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].metadata.name}')).split(' ');
    const near = nodes.find((name) => name !== 'machine');
    const serve = { command: ['sh', '-c', 'mkdir /w && hostname > /w/index.html && exec httpd -f -p 8080 -h /w'] };
    await held.createPod('far', {}, serve);
    await held.createPod('near', { nodeName: near }, serve);
    for (const name of ['far', 'near']) await held.waitReady(name);
    const addressOf = async (name: string) => (await held.pod(name)).status?.podIP ?? '';
    const page = async (from: string, to: string) => {
      const url = `http://${await addressOf(to)}:8080/`;
      const { stdout } = await cluster.tryKubectl(['exec', from, '--', 'timeout', '3', 'wget', '-q', '-O', '-', url]);
      return stdout.trim();
    };
    await eventually('far answers near', async () => (await page('near', 'far')) === 'far');
    await eventually('near answers far', async () => (await page('far', 'near')) === 'near');
    assert.match(await on('ip route show proto 98'), /dev berth-vxlan/);
    await cluster.kubectl('delete', 'pod', 'far', 'near', '--timeout=60s');
  });

  it('goes on with its pods while the package is upgraded', async () => {
    const containerId = await held.containerOf('there');
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
    assert.equal(await held.containerOf('there'), containerId);
    assert.equal(await held.restartsOf('there'), 0);
  });

  it('has units that systemd finds nothing wrong with, and ends an agent that hangs', async () => {
    assert.equal(
      (await held.machine.run('systemd-analyze verify --man=no berth-agent.service berth-proxy.service')).stderr,
      '',
    );
    const dropIn = '/run/systemd/system/berth-agent.service.d';
    const soon = '[Service]\\nWatchdogSec=6\\nTimeoutStopSec=2\\n';
    await on(`mkdir -p ${dropIn}; printf '${soon}' > ${dropIn}/soon.conf; systemctl daemon-reload`);
    await on('systemctl restart berth-agent', 60_000);
    const pid = (await on('systemctl show -p MainPID --value berth-agent')).trim();
    await systemClock.sleep(8000);
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
    assert.equal(await held.restartsOf('there'), 0);
  });

  it('is found healthy by the doctor', async () => {
    const { exitCode, stdout } = await held.machine.run('berth doctor -o json');
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
    const id = (await held.containerOf('there')).replace('containerd://', '');
    assert.equal(await on('stat -c %a /var/lib/kubelet/berth/pods.json'), '600\n');
    await on('systemctl stop berth-agent');
    await held.machine.cutOff(true);
    try {
      await on(`ctr -n k8s.io task kill -s KILL -a ${id}`);
      await on('systemctl start --no-block berth-agent');
      const running = 'ctr -n k8s.io task ls | grep -c RUNNING';
      await eventually(
        'a new container',
        async () => (await held.machine.run(running)).stdout.trim() === '2',
        60_000,
      ).catch(async (error: unknown) => assert.fail(`${error}\n${await journal()}`));
    } finally {
      await held.machine.cutOff(false);
    }
    await eventually(
      'the new container',
      async () => (await held.containerOf('there')) !== `containerd://${id}`,
      60_000,
    );
    await held.waitReady('there');
    assert.equal(await held.restartsOf('there'), 1);
  });

  it('goes on through a restart of the runtime, a clock that jumps and a time without the cluster', async () => {
    const id = await held.containerOf('there');
    await on('systemctl restart containerd', 60_000);
    await on('date -s "+2 hours" >/dev/null; sleep 3; date -s "-2 hours" >/dev/null');
    await held.machine.cutOff(true);
    try {
      await eventually('a node nobody hears of', async () => !isReady(await held.node()), 120_000, 500);
    } finally {
      await held.machine.cutOff(false);
    }
    await eventually('the node again', async () => isReady(await held.node()), 90_000, 500);
    await held.waitReady('there');
    assert.equal(await held.containerOf('there'), id);
    assert.equal(await held.restartsOf('there'), 1);
    await held.waitReady('there');
    assert.equal((await held.cluster.kubectl('exec', 'there', '--', 'echo', 'well')).trim(), 'well');
  });

  it('ends its pods before it powers off, and is not ready meanwhile', async () => {
    const periods = 'shutdownGracePeriod: 40s\nshutdownGracePeriodCriticalPods: 10s\n';
    await on(`printf '${periods}' >> /var/lib/kubelet/config.yaml; systemctl restart berth-agent`);
    await eventually('a lock', async () => (await on('systemd-inhibit --list')).includes('kubelet'), 30_000).catch(
      async (error: unknown) => assert.fail(`${error}\n${await journal()}`),
    );
    let message = '';
    const off = held.machine.off(120_000);
    // Told when it is awaited, below.
    off.catch(() => undefined);
    await held.machine.run('(sleep 0.2; systemctl poweroff) >/dev/null 2>&1 &');
    await eventually('a node that is going', async () => {
      const found = conditionOf(await held.node(), 'Ready');
      message = found?.message ?? '';
      return found?.status === 'False';
    });
    assert.match(message, /node is shutting down/);
    await off;
    const { status } = await held.pod('there');
    assert.equal(status?.phase, 'Failed');
    assert.equal(status?.reason, 'Terminated');
    assert.equal(status?.message, 'Pod was terminated in response to imminent node shutdown.');
    const disruption = status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual([disruption?.status, disruption?.reason], ['True', 'TerminationByKubelet']);
  });

  it('is a node again when it is switched on', async () => {
    await held.machine.boot();
    await on(foreign);
    await held.importImages();
    await held.cluster.kubectl('delete', 'pod', 'there', '--grace-period=0', '--force');
    await held.createPod('again');
    await held.waitReady('again');
    assert.ok(isReady(await held.node()));
  });

  it('is left as it was by uninstall, with what belongs to others', async () => {
    assert.match(
      await on('berth uninstall --dry-run'),
      /stop and disable berth-agent.service\nstop and remove the node's pods/,
    );
    await on('berth uninstall', 120_000);
    assert.deepEqual(await takeInventory(), before_);
    assert.match(await on('findmnt -no SOURCE /mnt'), /foreign/);
  });

  it('starts on a node that kubeadm prepared, under its unit and drop-in, and leaves these in the end', async () => {
    await on(`mkdir -p /etc/cni/net.d; echo '${anotherNetwork.content}' > ${anotherNetwork.path}`);
    await prepareByKubeadm(held);
    await held.cluster.kubectl('delete', 'node', 'machine', '--timeout=30s');
    const prepared = await takeInventory();
    await on('berth install --names kubelet --start', 60_000);
    await held.waitNodeReady();
    assert.equal((await held.node()).metadata.labels?.['role'], 'worker');
    await held.createPod('prepared');
    await held.waitReady('prepared');
    const command = await on("tr '\\0' ' ' < /proc/$(systemctl show -p MainPID --value kubelet)/cmdline");
    assert.match(command, / agent --bootstrap-kubeconfig=\S+ --kubeconfig=\S+ --config=\S+ --node-ip=10\.247\.0\.2 /);
    assert.match(await on('systemctl show -p ExecStart kubelet'), /path=\/usr\/bin\/kubelet /);
    assert.equal((await on('systemctl is-enabled kubelet.service')).trim(), 'enabled');
    assert.equal(await on('kubelet --version'), 'Kubernetes v1.36.2\n');
    await on('berth uninstall', 120_000);
    assert.deepEqual(await takeInventory(), prepared);
  });

  it('goes without a trace of its package', async () => {
    await on('apt-get -qq purge -y berth 2>/dev/null || dpkg --purge berth', 60_000);
    assert.equal((await held.machine.run('ls /usr/lib/berth /usr/bin/berth 2>/dev/null')).stdout, '');
  });
});
