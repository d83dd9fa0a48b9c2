import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { renderFindings } from '../../../cli/doctor/command.ts';
import type { DoctorFacts } from '../../../cli/doctor/facts.ts';
import { listenersIn } from '../../../cli/doctor/find-listener.ts';
import { judgeFacts } from '../../../cli/doctor/judge-facts.ts';
import { findNodePlaces } from '../../../cli/doctor/node-places.ts';
import { computeLayout } from '../../../cli/up/layout.ts';

const nowMs = Date.parse('2026-06-01T00:00:00Z');
const day = 24 * 3600 * 1000;

/** A node on which all is well. */
const healthy: DoctorFacts = {
  nowMs,
  isRoot: true,
  kernel: { release: '6.1.0-18-amd64', missingNamespaces: [], missingFeatures: [] },
  settings: { 'net/ipv4/ip_forward': '1', 'net/bridge/bridge-nf-call-iptables': '1' },
  swapBytes: 0,
  cgroups: { version: 2, controllers: ['cpu', 'memory', 'pids', 'io'] },
  configuration: {
    file: '/var/lib/kubelet/config.yaml',
    cgroupDriver: 'systemd',
    failSwapOn: true,
    rotateCertificates: true,
    resolvConf: '/etc/resolv.conf',
    port: 10250,
    healthzPort: 10248,
  },
  programs: [{ name: 'runc', debianPackage: 'runc', found: true }],
  runtime: {
    endpoint: 'unix:///run/containerd/containerd.sock',
    version: 'containerd 1.6.20',
    problems: [],
    error: undefined,
    systemdCgroups: true,
  },
  network: {
    directory: '/etc/cni/net.d',
    configurations: ['10-net.conflist'],
    missingPlugins: [],
    pluginDirectories: ['/opt/cni/bin'],
  },
  ports: [{ port: 10250, what: 'the agent', holder: '/usr/lib/berth/node dist/berth.mjs agent' }],
  certificates: [{ path: '/pki/client.pem', notAfterMs: nowMs + 90 * day, isRenewed: true }],
  api: [{ server: 'https://a:6443', error: undefined, skewMs: 300 }],
  disks: [{ what: "the node's disk", path: '/var/lib/kubelet', freeRatio: 0.6, freeInodesRatio: 0.9 }],
  dns: { file: '/etc/resolv.conf', nameservers: ['10.0.0.1'], unresolved: [] },
};

const problems = (changes: Partial<DoctorFacts>): string[] =>
  judgeFacts({ ...healthy, ...changes })
    .filter(({ level }) => level !== 'ok')
    .map(({ check, level, message, fix }) => {
      assert.ok(fix, `${message} has a fix`);
      return `${level} ${check}: ${message}`;
    });

const cases: [string, Partial<DoctorFacts>, RegExp][] = [
  ['a kernel that is too old', { kernel: { ...healthy.kernel, release: '4.4.0' } }, /^error kernel: .*too old/],
  [
    'a missing module',
    { kernel: { ...healthy.kernel, missingFeatures: [{ name: 'the overlay file system', module: 'overlay' }] } },
    /^error modules: .*overlay/,
  ],
  ['packets that are not forwarded', { settings: { 'net/ipv4/ip_forward': '0' } }, /^error settings: .*ip_forward/],
  ['swap', { swapBytes: 4096 }, /^error swap/],
  ['a missing controller', { cgroups: { version: 2, controllers: ['cpu', 'memory'] } }, /^error cgroups: .*pids/],
  ['cgroup v1', { cgroups: { ...healthy.cgroups, version: 1 } }, /^warning cgroups: cgroup v1/],
  [
    'two cgroup drivers',
    { runtime: { ...healthy.runtime, systemdCgroups: false } },
    /^error cgroups: .*driver is systemd, the runtime's is cgroupfs/,
  ],
  [
    'a runtime that is away',
    { runtime: { ...healthy.runtime, version: undefined, error: 'ENOENT' } },
    /^error runtime: no container runtime at .*ENOENT/,
  ],
  ['a missing program', { programs: [{ name: 'runc', debianPackage: 'runc', found: false }] }, /^error programs: runc/],
  ['no pod network', { network: { ...healthy.network, configurations: [] } }, /^error cni: no network configuration/],
  ['a missing plugin', { network: { ...healthy.network, missingPlugins: ['bridge'] } }, /^error cni: .*bridge/],
  [
    'a port that another has',
    { ports: [{ port: 10250, what: 'the agent', holder: '/usr/bin/kubelet' }] },
    /^error ports: port 10250 .*kubelet/,
  ],
  [
    'a certificate that ran out',
    { certificates: [{ path: '/c', notAfterMs: nowMs - day, isRenewed: true }] },
    /^error certificates: \/c ran out on 2026-05-31/,
  ],
  [
    'a certificate that nobody renews',
    { certificates: [{ path: '/c', notAfterMs: nowMs + day, isRenewed: false }] },
    /^warning certificates: \/c runs out/,
  ],
  [
    'a certificate that is gone',
    { certificates: [{ path: '/c', notAfterMs: undefined, isRenewed: true }] },
    /cannot be read/,
  ],
  [
    'a server that is away',
    { api: [{ server: 'https://a:6443', error: 'ECONNREFUSED', skewMs: undefined }] },
    /^error apiserver: .*ECONNREFUSED/,
  ],
  [
    'a clock that is far off',
    { api: [{ server: 'https://a:6443', error: undefined, skewMs: -3_600_000 }] },
    /^error clock: the clock is 3600 s behind/,
  ],
  [
    'a clock that is a little off',
    { api: [{ server: 'https://a:6443', error: undefined, skewMs: 9000 }] },
    /^warning clock: the clock is 9 s ahead/,
  ],
  [
    'a full disk',
    { disks: [{ what: 'd', path: '/', freeRatio: 0.05, freeInodesRatio: 0.9 }] },
    /^error disk: .*5 % free.*evicts/,
  ],
  ['few inodes', { disks: [{ what: 'd', path: '/', freeRatio: 0.5, freeInodesRatio: 0.07 }] }, /^warning disk/],
  ['no name servers', { dns: { ...healthy.dns, nameservers: [] } }, /^warning dns/],
  ['a local name server', { dns: { ...healthy.dns, nameservers: ['127.0.0.53'] } }, /^warning dns: .*itself/],
  [
    'a server without an address',
    { dns: { ...healthy.dns, unresolved: [{ host: 'a', error: 'ENOTFOUND' }] } },
    /^error dns: a cannot be resolved/,
  ],
  [
    'a machine that has not joined',
    { configuration: { ...healthy.configuration, file: undefined }, api: [] },
    /^warning cluster: this machine has joined no cluster/,
  ],
];

describe('berth doctor', () => {
  it('finds nothing on a healthy node', () => {
    assert.deepEqual(problems({}), []);
  });

  for (const [what, changes, expected] of cases) {
    it(`finds ${what}`, () => {
      const found = problems(changes);
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0] ?? '', expected);
    });
  }

  it('takes one of several API servers that is away for less than an error', () => {
    const api = [
      { server: 'https://a:6443', error: 'ECONNREFUSED', skewMs: undefined },
      { server: 'https://b:6443', error: undefined, skewMs: 0 },
    ];
    assert.deepEqual(problems({ api }), [
      'warning apiserver: the API server https://a:6443 cannot be reached: ECONNREFUSED',
    ]);
  });

  it('shows the fix below its finding', () => {
    const text = renderFindings([{ check: 'disk', level: 'error', message: 'full', fix: 'empty it' }]);
    assert.equal(text, `ERROR   disk         full\n${' '.repeat(21)}fix: empty it`);
  });

  it('knows listeners by the kernel table', () => {
    const table = [
      '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
      '   0: 00000000:280A 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100',
      '   1: 0100007F:280A 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1 0 100',
    ].join('\n');
    assert.deepEqual(listenersIn(table, 10250), ['4711']);
    assert.deepEqual(listenersIn(table, 80), []);
  });
});

describe('findNodePlaces', () => {
  const layout = computeLayout({ instance: 'berth', hostname: 'vm', nodeCount: 1 });

  it('looks where a kubelet has its files, and where berth up has them when only that is there', () => {
    assert.equal(findNodePlaces(layout, () => false).config, '/var/lib/kubelet/config.yaml');
    assert.equal(findNodePlaces(layout, () => true).config, '/var/lib/kubelet/config.yaml');
    const up = findNodePlaces(layout, (path) => path.startsWith('/etc/berth/'));
    assert.equal(up.config, layout.nodes[0]?.agentConfig);
    assert.equal(up.cniConfDir, layout.nodes[0]?.cniConfDir);
  });
});
