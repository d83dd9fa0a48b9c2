import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { renderDefaultConfig } from '../../../proxy/config/default-config.ts';
import { loadProxyConfig } from '../../../proxy/config/proxy-config.ts';
import { planConntrackSysctls } from '../../../proxy/plan/plan-conntrack-sysctls.ts';

const dir = mkdtempSync(join(tmpdir(), 'berth-proxy-config-'));
after(() => rmSync(dir, { recursive: true }));

function withFile(fields: object, ...flags: string[]) {
  const path = join(dir, 'config.json');
  const head = { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration' };
  writeFileSync(path, JSON.stringify({ ...head, ...fields }));
  return loadProxyConfig([`--config=${path}`, ...flags]);
}

describe('loadProxyConfig', () => {
  it('has upstream defaults', () => {
    const { config, warnings } = loadProxyConfig([]);
    const settings = { masqueradeAll: false, masqueradeBit: 14, minSyncPeriodMs: 1000, syncPeriodMs: 30_000 };
    assert.deepEqual(config.modes, {
      iptables: { ...settings, nodePortAddresses: [] },
      nftables: { ...settings, nodePortAddresses: ['primary'] },
      ipvs: { ...settings, nodePortAddresses: [] },
    });
    assert.equal(config.mode, undefined, 'chosen by what the kernel can do');
    assert.deepEqual(
      [config.healthzBindAddress, config.metricsBindAddress],
      [
        { host: '0.0.0.0', port: 10256 },
        { host: '127.0.0.1', port: 10249 },
      ],
    );
    assert.deepEqual(warnings, []);
  });

  it('reads the fields of each mode', () => {
    const fields = {
      mode: 'nftables',
      nftables: { masqueradeBit: 15, masqueradeAll: true, minSyncPeriod: '2s', syncPeriod: '1m' },
      iptables: { masqueradeBit: 13 },
      nodePortAddresses: ['10.0.0.0/8'],
    };
    const { config } = withFile(fields);
    assert.equal(config.mode, 'nftables');
    assert.deepEqual(config.modes.nftables, {
      masqueradeAll: true,
      masqueradeBit: 15,
      minSyncPeriodMs: 2000,
      syncPeriodMs: 60_000,
      nodePortAddresses: ['10.0.0.0/8'],
    });
    assert.equal(config.modes.iptables.masqueradeBit, 13);
    const flagged = loadProxyConfig(['--proxy-mode=iptables', '--iptables-sync-period=5s']).config;
    assert.deepEqual([flagged.mode, flagged.modes.iptables.syncPeriodMs], ['iptables', 5000]);
  });

  it('lets a file decide what is in files, and flags what the program is to do', () => {
    const flags = ['--proxy-mode=iptables', '--hostname-override=here', '--master=https://a:1', '--v=4', '--cleanup'];
    const { config, action, warnings } = withFile({ mode: 'nftables', hostnameOverride: 'there' }, ...flags);
    assert.deepEqual([config.mode, config.hostnameOverride, config.master], ['nftables', 'here', 'https://a:1']);
    assert.deepEqual([config.verbosity, action], [4, 'cleanup']);
    assert.deepEqual(warnings, ['flag --proxy-mode is ignored: the file of --config decides']);
  });

  it('takes what kubeadm gives every kube-proxy as it is, with all defaults', () => {
    const path = join(import.meta.dirname, '../../data/kubeadm/kube-proxy-config.yaml');
    const { config, warnings, action } = loadProxyConfig([`--config=${path}`, '--hostname-override=node-1']);
    const { config: defaults } = loadProxyConfig(['--hostname-override=node-1']);
    assert.deepEqual(config, { ...defaults, kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf' });
    assert.deepEqual([warnings, action], [[], 'run']);
  });

  it('writes a file that stands for no configuration', () => {
    assert.equal(loadProxyConfig(['--write-config-to=/x']).writeTo, '/x');
    const path = join(dir, 'defaults.yaml');
    writeFileSync(path, renderDefaultConfig());
    const { config, warnings } = loadProxyConfig([`--config=${path}`]);
    assert.deepEqual(config, loadProxyConfig([]).config);
    assert.deepEqual(
      warnings.filter((text) => !/configSyncPeriod/.test(text)),
      [],
    );
  });

  it('switches a server off whose address is given as empty', () => {
    const { config } = loadProxyConfig(['--metrics-bind-address=', '--healthz-bind-address=']);
    assert.deepEqual([config.metricsBindAddress.port, config.healthzBindAddress.port], [0, 0]);
    assert.equal(withFile({ metricsBindAddress: '' }).config.metricsBindAddress.port, 10_249);
  });

  const root = 'KubeProxyConfiguration';
  const linux = `${root}.KubeProxyLinuxConfiguration`;
  const refusals: [object, string][] = [
    [
      { mode: 'userspace' },
      `${root}.Mode.ProxyMode: Invalid value: "userspace": must be iptables, ipvs, nftables or blank (blank means the best-available proxy [currently iptables])`,
    ],
    [
      { iptables: { masqueradeBit: 32 } },
      `${root}.KubeProxyIPTablesConfiguration.MasqueradeBit: Invalid value: 32: must be within the range [0, 31]`,
    ],
    [
      { mode: 'nftables', nftables: { masqueradeBit: -1 } },
      `${root}.KubeProxyNFTablesConfiguration.MasqueradeBit: Invalid value: -1: must be within the range [0, 31]`,
    ],
    [
      { iptables: { syncPeriod: '-5s', minSyncPeriod: '1s' } },
      `[${root}.SyncPeriod: Invalid value: -5s: must be greater than 0, ${root}.SyncPeriod: Invalid value: 1s: must be greater than or equal to ${root}.MinSyncPeriod]`,
    ],
    [
      { iptables: { syncPeriod: '1s', minSyncPeriod: '2s' } },
      `${root}.SyncPeriod: Invalid value: 2s: must be greater than or equal to ${root}.MinSyncPeriod`,
    ],
    [
      { conntrack: { maxPerCore: -1, tcpEstablishedTimeout: '-1s' } },
      `[${linux}.KubeProxyConntrackConfiguration.MaxPerCore: Invalid value: -1: must be greater than or equal to 0, ${linux}.KubeProxyConntrackConfiguration.TCPEstablishedTimeout: Invalid value: -1s: must be greater than or equal to 0]`,
    ],
    [{ oomScoreAdj: 1001 }, `${linux}.OOMScoreAdj: Invalid value: 1001: must be within the range [-1000, 1000]`],
    [
      { bindAddress: '10.10.12.11:2000' },
      `${root}.BindAddress: Invalid value: "10.10.12.11:2000": not a valid textual representation of an IP address`,
    ],
    [{ healthzBindAddress: '0.0.0.0' }, `${root}.HealthzBindAddress: Invalid value: "0.0.0.0": must be IP:port`],
    [{ metricsBindAddress: 'host:10249' }, `${root}.MetricsBindAddress: Invalid value: "host": must be a valid IP`],
    [{ metricsBindAddress: '[::]:70000' }, `${root}.MetricsBindAddress: Invalid value: "70000": must be a valid port`],
    [
      { nodePortAddresses: ['10.0.0.0'] },
      `${root}.NodePortAddresses[0]: Invalid value: "10.0.0.0": must be a valid CIDR`,
    ],
    [
      { nodePortAddresses: ['primary', '10.0.0.0/8'] },
      `${root}.NodePortAddresses[0]: Invalid value: "primary": can't use both 'primary' and CIDRs`,
    ],
    [
      { detectLocalMode: 'Guess' },
      `${root}.DetectLocalMode: Unsupported value: "Guess": supported values: "ClusterCIDR", "NodeCIDR", "BridgeInterface", "InterfaceNamePrefix", ""`,
    ],
    [
      { detectLocalMode: 'BridgeInterface' },
      `${root}.DetectLocalConfiguration.InterfaceName: Invalid value: "": must not be empty`,
    ],
    [
      { clusterCIDR: '10.0.0.0' },
      `${root}.DetectLocalConfiguration.ClusterCIDRs[0]: Invalid value: "10.0.0.0": must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)`,
    ],
    [
      { clusterCIDR: '10.0.0.0/16,10.1.0.0/16' },
      `${root}.DetectLocalConfiguration.ClusterCIDRs: Invalid value: ["10.0.0.0/16","10.1.0.0/16"]: must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]`,
    ],
    [
      { mode: 'ipvs', ipvs: { excludeCIDRs: ['a'], tcpTimeout: '-1s' } },
      `[${root}.KubeProxyIPVSConfiguration.TCPTimeout: Invalid value: -1s: must be greater than or equal to 0, ${root}.KubeProxyIPVSConfiguration.ExcludeCidrs[0]: Invalid value: "a": must be a valid CIDR]`,
    ],
  ];
  for (const [fields, message] of refusals) {
    it(`refuses ${JSON.stringify(fields)} in kube-proxy's words`, () => {
      assert.throws(() => withFile(fields), { name: 'UsageError', message });
    });
  }

  it('warns about flags and fields it accepts without effect, and not about empty ones', () => {
    assert.deepEqual(loadProxyConfig(['--oom-score-adj=-5']).warnings, [
      'flag --oom-score-adj is accepted but has no effect',
    ]);
    const generated = { bindAddress: '', portRange: '', ipvs: { excludeCIDRs: null, syncPeriod: '0s' } };
    assert.deepEqual(withFile(generated).warnings, []);
    assert.match(withFile({ bindAddress: '192.0.2.1' }).warnings.join(), /^field bindAddress of .* has no effect$/);
  });

  it('takes what only mode ipvs has from flags and from the file', () => {
    const ipvs = {
      scheduler: 'mh',
      strictARP: true,
      excludeCIDRs: ['10.9.0.0/16'],
      tcpTimeout: '15m',
      syncPeriod: '9s',
    };
    const { config } = withFile({ ipvs: { ...ipvs, udpTimeout: '1500ms' }, iptables: { masqueradeAll: true } });
    assert.equal(loadProxyConfig(['--ipvs-udp-timeout=1500ms']).config.ipvs.timeouts.udp, 2);
    assert.deepEqual(config.ipvs, {
      scheduler: 'mh',
      strictArp: true,
      excludeCIDRs: ['10.9.0.0/16'],
      timeouts: { tcp: 900, tcpFin: 0, udp: 2 },
    });
    assert.equal(config.modes.ipvs.syncPeriodMs, 9000);
    assert.equal(config.modes.ipvs.masqueradeAll, true, 'it masquerades as mode iptables does');
    assert.throws(() => loadProxyConfig(['--ipvs-scheduler=best']), /"best" is unknown; allowed: rr, /);
  });
});

describe('conntrack settings', () => {
  it('are upstream defaults by the number of cores', () => {
    const { conntrack } = loadProxyConfig([]).config;
    const defaults = (max: number) =>
      new Map([
        ['nf_conntrack_max', max],
        ['nf_conntrack_tcp_timeout_established', 86_400],
        ['nf_conntrack_tcp_timeout_close_wait', 3600],
      ]);
    assert.deepEqual(planConntrackSysctls(conntrack, 2), defaults(131_072));
    assert.deepEqual(planConntrackSysctls(conntrack, 8), defaults(262_144));
  });

  it('leave the kernel alone where they are 0', () => {
    const zero = { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' };
    assert.deepEqual(planConntrackSysctls(withFile({ conntrack: zero }).config.conntrack, 4), new Map());
  });

  it('take all fields and flags', () => {
    const fromFile = withFile({ conntrack: { udpTimeout: '30s', tcpBeLiberal: true } }).config.conntrack;
    assert.deepEqual([fromFile.udpMs, fromFile.tcpBeLiberal], [30_000, true]);
    const { config } = loadProxyConfig([
      '--conntrack-udp-timeout=30s',
      '--conntrack-tcp-be-liberal',
      '--conntrack-udp-timeout-stream=2m',
      '--conntrack-max-per-core=100000',
      '--conntrack-tcp-timeout-established=1h',
    ]);
    assert.deepEqual(Object.fromEntries(planConntrackSysctls(config.conntrack, 2)), {
      nf_conntrack_max: 200_000,
      nf_conntrack_tcp_timeout_established: 3600,
      nf_conntrack_tcp_timeout_close_wait: 3600,
      nf_conntrack_udp_timeout: 30,
      nf_conntrack_udp_timeout_stream: 120,
      nf_conntrack_tcp_be_liberal: 1,
    });
  });
});
