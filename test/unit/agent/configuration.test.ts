import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Node } from '#kube/api/generated/core-v1.ts';
import { cgroupParent, cgroupPath, podCgroup, podUidOfCgroup } from '../../../agent/cgroup/cgroup-names.ts';
import { computePodLimits } from '../../../agent/cgroup/compute-limits.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';
import { planRotatedLogs, rotatedName } from '../../../agent/container/plan-log-rotation.ts';
import { initialPressureState, planPressure } from '../../../agent/eviction/plan-pressure.ts';
import { parseThresholds } from '../../../agent/eviction/thresholds.ts';
import { computeNodeStatus, type NodeStatusInputs } from '../../../agent/node/compute-node-status.ts';
import { hugepageNames } from '../../../agent/node/machine-facts.ts';
import { defaultRouteInterface } from '../../../agent/node/node-address.ts';
import { admitPod } from '../../../agent/sync/admit-pod.ts';
import { podUidOfLogs } from '../../../agent/sync/housekeeping.ts';
import { container, podOf } from './fixtures.ts';

const directory = mkdtempSync(join(tmpdir(), 'agent-config-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function file(name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, `apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n${text}`);
  return path;
}

function load(...argv: string[]) {
  const loaded = loadConfiguration(argv, 'v1.36.2');
  if ('print' in loaded) throw new Error(loaded.print);
  return { ...loaded, settings: resolveSettings(loaded) };
}

describe('the configuration of the agent', () => {
  it("has kubelet's defaults", () => {
    const { settings } = load();
    assert.equal(settings.server.port, 10250);
    assert.equal(settings.maxPods, 110);
    assert.equal(settings.rootDir, '/var/lib/kubelet');
    assert.equal(settings.runtimeEndpoint, 'unix:///run/containerd/containerd.sock');
    assert.equal(settings.syncFrequencyMs, 60_000);
    assert.equal(settings.crashLoopMaxMs, 300_000);
  });

  it('waits as long before restarts as the node says', () => {
    const waits = (...argv: string[]) => {
      const { crashLoopInitialMs, crashLoopMaxMs } = load(...argv).settings;
      return [crashLoopInitialMs, crashLoopMaxMs];
    };
    const limited = file('crash.yaml', 'crashLoopBackOff:\n  maxContainerRestartPeriod: 4s\n');
    assert.deepEqual(waits(), [10_000, 300_000]);
    assert.deepEqual(waits(`--config=${limited}`), [4000, 4000]);
    const gate = '--feature-gates=ReduceDefaultCrashLoopBackOffDecay=true';
    assert.deepEqual(waits(gate), [1000, 60_000]);
    assert.deepEqual(waits(gate, `--config=${limited}`), [1000, 4000]);
    const long = file('long.yaml', 'crashLoopBackOff:\n  maxContainerRestartPeriod: 10m\n');
    assert.throws(
      () => load(`--config=${long}`),
      /MaxContainerRestartPeriod \(got: 600 seconds\) must be set between 1s and 300s/,
    );
  });

  it('reads where static pods are asked for, and with which headers', () => {
    const text = 'staticPodURL: http://h/pods\nstaticPodURLHeader:\n  X-A: [b, c]\nhttpCheckFrequency: 5s\n';
    const { settings } = load(`--config=${file('url.yaml', text)}`);
    assert.equal(settings.staticPodUrl, 'http://h/pods');
    assert.deepEqual(settings.staticPodUrlHeader, { 'X-A': ['b', 'c'] });
    assert.equal(settings.httpCheckMs, 5000);
    const flags = load('--manifest-url=http://h/x', '--manifest-url-header=A:b,A:c:d').settings;
    assert.equal(flags.staticPodUrl, 'http://h/x');
    assert.deepEqual(flags.staticPodUrlHeader, { A: ['b', 'c:d'] });
  });

  it('lets the file override defaults, and flags the file', () => {
    const config = file('a.yaml', 'maxPods: 20\nport: 11250\n');
    assert.equal(load(`--config=${config}`).settings.maxPods, 20);
    assert.equal(load(`--config=${config}`, '--max-pods=30').settings.maxPods, 30);
    assert.equal(load(`--config=${config}`, '--max-pods=30').settings.server.port, 11250);
  });

  it('takes zero values for absent, as in the file that kubeadm leaves', () => {
    const text =
      'syncFrequency: 0s\ncontainerRuntimeEndpoint: ""\nauthentication:\n  webhook:\n    cacheTTL: 0s\n    enabled: true\n';
    const { settings } = load(`--config=${file('b.yaml', text)}`);
    assert.equal(settings.syncFrequencyMs, 60_000);
    assert.equal(settings.server.authenticationCacheMs, 120_000);
    assert.equal(settings.server.anonymous, false);
    assert.equal(settings.runtimeEndpoint, 'unix:///run/containerd/containerd.sock');
  });

  it('replaces lists and thresholds as a whole', () => {
    const { settings } = load(
      `--config=${file('c.yaml', 'evictionHard:\n  memory.available: 1Gi\nclusterDNS: [10.0.0.10]\n')}`,
    );
    assert.deepEqual(settings.evictionHard, { 'memory.available': '1Gi' });
    assert.deepEqual(settings.clusterDns, ['10.0.0.10']);
  });

  it('names an unknown field or flag, and a wrong value', () => {
    assert.throws(() => load(`--config=${file('d.yaml', 'maxpods: 1\n')}`), /unknown field maxpods/);
    assert.throws(() => load('--no-such-flag=1'), /unknown flag --no-such-flag/);
    assert.throws(() => load('--max-pods=many'), /--max-pods takes a whole number/);
    assert.throws(() => load('--cgroup-driver=none'), /cgroupDriver takes cgroupfs or systemd/);
    assert.throws(
      () => load('--port=70000'),
      /^UsageError: invalid configuration: port \(--port\) 70000 must be between 1 and 65535, inclusive$/,
    );
  });

  it('ignores with a warning what v1.36 has removed, and says what has no effect', () => {
    const { warnings } = load('--pod-infra-container-image=x', '--lock-file=x', '--max-pods=3');
    assert.deepEqual(warnings, [
      'flag --pod-infra-container-image has been removed from kubelet and is ignored',
      'flag --lock-file is accepted and has no effect',
      "Flag --max-pods has been deprecated, This parameter should be set via the config file specified by the Kubelet's --config flag. See https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/ for more information.",
    ]);
  });

  it('knows every flag of kubelet', () => {
    const flags = JSON.parse(
      readFileSync(new URL('../../../agent/config/data/flags.json', import.meta.url), 'utf8'),
    ) as { name: string }[];
    const help = loadConfiguration(['--help'], 'v1.36.2');
    assert.ok('print' in help);
    for (const { name } of flags) assert.ok(help.print.includes(`--${name} `), name);
  });
});

describe('computeNodeStatus', () => {
  const inputs: NodeStatusInputs = {
    facts: {
      cpus: 2,
      memoryBytes: 24684092 * 1024,
      swapBytes: 0,
      hugepages: [{ pageKiB: 2048, bytes: 0 }],
      machineId: 'm',
      systemUuid: 's',
      bootId: 'b',
      kernelVersion: 'k',
      osImage: 'o',
      architecture: 'amd64',
    },
    hostname: 'vm',
    ips: ['192.0.2.2'],
    maxPods: 150,
    reserved: [],
    evictionHard: { 'memory.available': '100Mi', 'nodefs.available': '10%' },
    storageBytes: undefined,
    serverPort: 10250,
    runtimeVersion: 'containerd://1.6.20',
    kubeletVersion: 'v1.36.2',
    images: [],
    maxImages: 50,
    problems: [],
    abilities: { handlers: [], supplementalGroupsPolicy: undefined },
    pressure: { memory: false, disk: false, pids: false },
    nowMs: Date.parse('2026-01-01T00:00:00Z'),
  };

  it('offers what is left of the memory after the eviction threshold', () => {
    const { capacity, allocatable } = computeNodeStatus(inputs, undefined);
    assert.deepEqual(capacity, { cpu: '2', 'hugepages-2Mi': '0', memory: '24684092Ki', pods: '150' });
    assert.equal(allocatable?.['memory'], '24581692Ki');
  });

  it('leaves addresses to a cloud provider outside', () => {
    const known = [{ type: 'ExternalIP', address: '203.0.113.1' }];
    const node = { metadata: { name: 'vm' }, status: { addresses: known } } as Node;
    const addresses = (ipsConfigured: boolean, previous?: Node) =>
      computeNodeStatus({ ...inputs, cloud: { ipsConfigured } }, previous).addresses?.map(({ type }) => type);
    assert.deepEqual(addresses(false), []);
    assert.deepEqual(addresses(true), ['InternalIP', 'Hostname']);
    assert.deepEqual(addresses(true, node), ['ExternalIP']);
  });

  it('takes reservations off, and percentages of storage', () => {
    const status = computeNodeStatus(
      { ...inputs, reserved: [{ cpu: '250m' }, { cpu: '250m' }], storageBytes: 1000 },
      undefined,
    );
    assert.equal(status.allocatable?.['cpu'], '1500m');
    assert.equal(status.allocatable?.['ephemeral-storage'], '900');
    const large = computeNodeStatus({ ...inputs, storageBytes: 103_865_303_040 }, undefined);
    assert.equal(large.allocatable?.['ephemeral-storage'], '93478772582');
  });

  it('is not ready while there are problems, and keeps the time of the last change', () => {
    const first = computeNodeStatus(inputs, undefined);
    const node = { status: first } as Node;
    const later = { ...inputs, nowMs: inputs.nowMs + 60_000 };
    const ready = (status: typeof first) => status.conditions?.find(({ type }) => type === 'Ready');
    assert.equal(ready(computeNodeStatus(later, node))?.lastTransitionTime, '2026-01-01T00:00:00Z');
    const broken = ready(computeNodeStatus({ ...later, problems: ['no network'] }, node));
    assert.deepEqual([broken?.status, broken?.reason, broken?.message], ['False', 'KubeletNotReady', 'no network']);
    assert.equal(broken?.lastTransitionTime, '2026-01-01T00:01:00Z');
  });

  it('says what the node is short of', () => {
    const signals = new Map([
      ['memory.available', { available: 50, capacity: 1000 }],
      ['nodefs.available', { available: 99, capacity: 1000 }],
      ['imagefs.available', { available: 500, capacity: 1000 }],
    ]);
    const thresholds = {
      'memory.available': '40',
      'nodefs.available': '10%',
      'imagefs.available': '15%',
      'pid.available': '10%',
    };
    const fields = { hard: thresholds, soft: {}, softGrace: {}, minReclaim: {}, enforcePods: false };
    const times = { nowMs: 0, transitionMs: 0 };
    const { pressure } = planPressure(parseThresholds(fields), signals, initialPressureState, times);
    assert.deepEqual(pressure, { memory: false, disk: true, pids: false });
    const disk = computeNodeStatus({ ...inputs, pressure }, undefined).conditions?.find(
      ({ type }) => type === 'DiskPressure',
    );
    assert.deepEqual([disk?.status, disk?.reason], ['True', 'KubeletHasDiskPressure']);
  });

  it('names huge pages for runtime and API', () => {
    assert.deepEqual(hugepageNames(2048), { runtime: '2MB', resource: 'hugepages-2Mi' });
    assert.deepEqual(hugepageNames(1048576), { runtime: '1GB', resource: 'hugepages-1Gi' });
    assert.deepEqual(hugepageNames(64), { runtime: '64KB', resource: 'hugepages-64Ki' });
  });

  it('finds the interface of the default route', () => {
    assert.equal(defaultRouteInterface('Iface\tDestination\neth1\t0000FEA9\t0\neth0\t00000000\t1\n'), 'eth0');
  });
});

describe('cgroup names', () => {
  const name = podCgroup(['node-a'], 'Burstable', '1234-abcd');

  it('are paths for cgroupfs and slices for systemd', () => {
    assert.equal(cgroupPath(name, 'cgroupfs'), '/node-a/kubepods/burstable/pod1234-abcd');
    assert.equal(cgroupParent(podCgroup([], 'Guaranteed', '1234-abcd'), 'systemd'), 'kubepods-pod1234_abcd.slice');
    assert.equal(
      cgroupPath(podCgroup([], 'Burstable', '1234-abcd'), 'systemd'),
      '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_abcd.slice',
    );
  });

  it('give the uid back', () => {
    assert.equal(podUidOfCgroup('pod1234abcd-ff'), '1234abcd-ff');
    assert.equal(podUidOfCgroup('kubepods-burstable-pod1234abcd_ff.slice'), '1234abcd-ff');
    assert.equal(podUidOfCgroup('burstable'), undefined);
  });

  it('limit a pod only where every container is limited', () => {
    const settings = { cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100, podPidsLimit: 50 };
    const limited = container('a', { resources: { limits: { cpu: '500m', memory: '64Mi' } } });
    assert.deepEqual(computePodLimits(podOf({ containers: [limited] }), settings), {
      cpuShares: 512,
      cpuPeriodUs: 100_000,
      cpuQuotaUs: 50_000,
      memoryBytes: 64 * 1024 * 1024,
      pids: 50,
    });
    const half = computePodLimits(podOf({ containers: [limited, container('b')] }), settings);
    assert.equal(half.cpuQuotaUs, undefined);
    assert.equal(half.memoryBytes, undefined);
  });
});

describe('admitPod', () => {
  const node = {
    metadata: { name: 'n', labels: { zone: 'a' } },
    spec: {
      taints: [
        { key: 'k', effect: 'NoExecute' },
        { key: 's', effect: 'NoSchedule' },
      ],
    },
    status: { allocatable: { cpu: '1', memory: '1Gi', pods: '2' } },
  } as unknown as Node;
  const tolerations = [{ key: 'k', operator: 'Exists' }];
  const pod = (cpu: string, extra: object = {}) =>
    podOf({
      containers: [container('c', { resources: { requests: { cpu } }, ports: [{ containerPort: 1, hostPort: 80 }] })],
      tolerations,
      ...extra,
    });
  const free = podOf({ containers: [container('x', { resources: { requests: { cpu: '600m' } } })] });

  it('takes a pod that fits', () => assert.equal(admitPod(pod('400m'), node, [free]), undefined));

  const table: [string, ReturnType<typeof pod>, ReturnType<typeof pod>[], string][] = [
    ['refuses one that asks for more than is left', pod('500m'), [free], 'OutOfcpu'],
    ['refuses one beyond the number of pods', pod('0'), [free, free], 'OutOfpods'],
    ['refuses one for other nodes', pod('0', { nodeSelector: { zone: 'b' } }), [], 'NodeAffinity'],
    ['refuses one whose port is taken', pod('0'), [pod('0')], 'NodePorts'],
    ['refuses one for another system', pod('0', { os: { name: 'windows' } }), [], 'PodOSNotSupported'],
    [
      'refuses a policy for groups that the runtime does not know',
      pod('0', { securityContext: { supplementalGroupsPolicy: 'Strict' } }),
      [],
      'SupplementalGroupsPolicyNotSupported',
    ],
    ['refuses one that may not stay', pod('0', { tolerations: [] }), [], 'TaintToleration'],
  ];
  for (const [name, candidate, others, reason] of table) {
    it(name, () => assert.equal(admitPod(candidate, node, others)?.reason, reason));
  }

  it('tells ports of one address from those of another', () => {
    const onPort = (hostIP: string, protocol = 'TCP') =>
      podOf({
        containers: [container('c', { ports: [{ containerPort: 1, hostPort: 80, hostIP, protocol }] })],
        tolerations,
      });
    const reason = (candidate: ReturnType<typeof onPort>, other: ReturnType<typeof onPort>) =>
      admitPod(candidate, node, [other])?.reason;
    assert.equal(reason(onPort('10.0.0.1'), onPort('10.0.0.2')), undefined);
    assert.equal(reason(onPort('10.0.0.1'), onPort('10.0.0.1', 'UDP')), undefined);
    assert.equal(reason(onPort('10.0.0.1'), onPort('10.0.0.1')), 'NodePorts');
    assert.equal(reason(onPort('0.0.0.0'), onPort('10.0.0.1')), 'NodePorts');
    assert.equal(reason(onPort('10.0.0.1'), onPort('')), 'NodePorts');
  });

  it('refuses kernel settings that are not safe, unless they are allowed', () => {
    const sysctls = [{ name: 'net.core.somaxconn', value: '1' }];
    const unsafe = pod('0', { securityContext: { sysctls } });
    assert.equal(admitPod(unsafe, node, [])?.reason, 'SysctlForbidden');
    assert.equal(admitPod(unsafe, node, [], { allowedSysctls: ['net.core.*'] }), undefined);
  });

  it('refuses a profile that the kernel cannot enforce, in a field or an annotation', () => {
    const appArmorProfile = { type: 'RuntimeDefault' };
    const field = pod('0', { securityContext: { appArmorProfile } });
    assert.equal(admitPod(field, node, [], { appArmor: false })?.reason, 'AppArmor');
    assert.equal(admitPod(field, node, [], { appArmor: true }), undefined);
    const annotated = pod('0');
    annotated.metadata.annotations = { 'container.apparmor.security.beta.kubernetes.io/c': 'localhost/strict' };
    assert.equal(admitPod(annotated, node, [], { appArmor: false })?.reason, 'AppArmor');
    const free = pod('0', { securityContext: { appArmorProfile: { type: 'Unconfined' } } });
    assert.equal(admitPod(free, node, [], { appArmor: false }), undefined);
  });

  it('says what was asked for and what there is', () => {
    const message =
      "Pod was rejected: Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000";
    assert.equal(admitPod(pod('500m'), node, [free])?.message, message);
  });
});

describe('log rotation', () => {
  it('keeps as many files as configured, compresses all but the current', () => {
    const names = [
      '0.log',
      '0.log.20260101-000001',
      '0.log.20260101-000002.gz',
      '0.log.20260101-000003',
      '0.log.20260101-000004',
      '1.log.20260101-000001',
      '0.log.20260101-000002.tmp',
    ];
    assert.deepEqual(planRotatedLogs('0.log', names, 5), {
      remove: ['0.log.20260101-000002.tmp', '0.log.20260101-000001'],
      compress: ['0.log.20260101-000003', '0.log.20260101-000004'],
    });
  });

  it('names rotated files by time', () => {
    assert.equal(rotatedName('0.log', Date.parse('2026-02-03T04:05:06.7Z')), '0.log.20260203-040506');
  });

  it('knows whose logs a directory holds', () => {
    assert.equal(podUidOfLogs('ns_web_uid-1'), 'uid-1');
    assert.equal(podUidOfLogs('lost+found'), undefined);
  });
});
