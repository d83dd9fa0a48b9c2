import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
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
    const flagged = withFile(fields, '--proxy-mode=iptables', '--iptables-sync-period=5s').config;
    assert.deepEqual([flagged.mode, flagged.modes.iptables.syncPeriodMs], ['iptables', 5000]);
  });

  it('refuses a mode it does not have, with those it has', () => {
    assert.throws(
      () => loadProxyConfig(['--proxy-mode=userspace']),
      /"userspace" is not available .* allowed: iptables, nftables, ipvs/,
    );
  });

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
    const { config } = withFile({ ipvs, iptables: { masqueradeAll: true } }, '--ipvs-udp-timeout=1500ms');
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

  it('refuses a range that is none', () => {
    assert.throws(() => loadProxyConfig(['--cluster-cidr=10.0.0.0']), /"10\.0\.0\.0" is not an address range/);
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
    const { config } = withFile(
      { conntrack: { udpTimeout: '30s', tcpBeLiberal: true } },
      '--conntrack-udp-timeout-stream=2m',
      '--conntrack-max-per-core=100000',
      '--conntrack-tcp-timeout-established=1h',
    );
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
