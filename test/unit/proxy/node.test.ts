import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Exec } from '#kube/process/exec.ts';
import { applyConntrackSysctls } from '../../../proxy/apply/conntrack-sysctls.ts';
import { prepareNode } from '../../../proxy/apply/prepare-node.ts';
import { loadProxyConfig } from '../../../proxy/config/proxy-config.ts';
import { createConfigFileWatch } from '../../../proxy/config/watch-config-file.ts';
import { chooseMode, createModes } from '../../../proxy/mode.ts';
import { computeListenAddresses, computeNodePortAddresses } from '../../../proxy/model/node-port-addresses.ts';
import { computeServiceHealth } from '../../../proxy/model/service-health.ts';
import type { IpFamily } from '../../../proxy/model/service-port.ts';
import { eventually } from '../../support/eventually.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { recordedStates } from '../../support/proxy-recordings.ts';

const logger = pino({ level: 'silent' });

describe('computeNodePortAddresses', () => {
  const local = { nodeIPs: ['192.0.2.10'], interfaces: ['127.0.0.1', '192.0.2.10', '10.1.0.5', 'fd00::5'] };
  const cases: [string[], 'IPv4' | 'IPv6', readonly string[] | 'all'][] = [
    [[], 'IPv4', 'all'],
    [['primary'], 'IPv4', ['192.0.2.10']],
    [['primary'], 'IPv6', 'all'],
    [['10.0.0.0/8'], 'IPv4', ['10.1.0.5']],
    [['10.0.0.0/8'], 'IPv6', 'all'],
    [['172.16.0.0/12'], 'IPv4', []],
    [['0.0.0.0/0', '::/0'], 'IPv4', 'all'],
    [['primary', '192.0.0.0/16', '10.0.0.0/8'], 'IPv4', ['192.0.2.10', '10.1.0.5']],
  ];
  for (const [configured, family, expected] of cases) {
    it(`takes ${JSON.stringify(expected)} for ${JSON.stringify(configured)} in ${family}`, () => {
      assert.deepEqual(computeNodePortAddresses(configured, family, local), expected);
    });
  }

  it('listens on one wildcard where both families take all addresses', () => {
    assert.deepEqual(computeListenAddresses([], ['IPv4', 'IPv6'], local), ['::']);
    assert.deepEqual(computeListenAddresses(['primary'], ['IPv4'], local), ['192.0.2.10']);
  });
});

describe('chooseMode', () => {
  function setup(working: string[]) {
    const exec: Exec = async (file) => {
      if (!working.includes(file)) throw new Error(`cannot run ${file}: not found`);
      return { exitCode: 0, stdout: '', stderr: '' };
    };
    return createModes({ config: loadProxyConfig([]).config, exec, clock: createFakeClock(), logger });
  }

  it('takes iptables where both work and none was asked for', async () => {
    const { mode, families } = await chooseMode(setup(['iptables', 'ip6tables', 'nft']), undefined, logger);
    assert.deepEqual([mode.name, families], ['iptables', ['IPv4', 'IPv6']]);
  });

  it('takes nftables where iptables does not work', async () => {
    assert.equal((await chooseMode(setup(['nft']), undefined, logger)).mode.name, 'nftables');
  });

  it('leaves out a family that the machine does not have', async () => {
    assert.deepEqual((await chooseMode(setup(['iptables']), 'iptables', logger)).families, ['IPv4']);
  });

  it('takes ipvs where that was asked for, and says what works where the kernel lacks it', async () => {
    const programs = ['iptables', 'ip6tables', 'ipvsadm', 'ipset'];
    assert.equal((await chooseMode(setup(programs), 'ipvs', logger)).mode.name, 'ipvs');
    await assert.rejects(
      chooseMode(setup(['iptables', 'ip6tables']), 'ipvs', logger),
      /^Error: mode ipvs cannot be used here \(cannot run ipset: not found\): --proxy-mode=iptables can$/,
    );
  });

  it('says in one line which mode works when the wanted one does not', async () => {
    await assert.rejects(
      chooseMode(setup(['iptables']), 'nftables', logger),
      /^Error: mode nftables cannot be used here \(cannot run nft: not found\): --proxy-mode=iptables can$/,
    );
  });
});

describe('health check node ports', () => {
  it('count the ready endpoints of this node', () => {
    const states = [...(recordedStates('load-balancer', 'IPv4').get('demo/lb-local')?.values() ?? [])];
    assert.deepEqual(computeServiceHealth(states)?.localEndpoints, 1);
    const others = recordedStates('cluster-ip', 'IPv4').values();
    for (const ports of others) assert.equal(computeServiceHealth(ports.values()), undefined);
  });
});

describe('applyConntrackSysctls', () => {
  it('writes what differs, grows the hash table, and goes on past what it cannot write', async () => {
    const root = mkdtempSync(join(tmpdir(), 'berth-sysctl-'));
    try {
      const sysctls = join(root, 'proc/sys/net/netfilter');
      const module = join(root, 'sys/module/nf_conntrack/parameters');
      for (const dir of [sysctls, module]) mkdirSync(dir, { recursive: true });
      writeFileSync(join(sysctls, 'nf_conntrack_max'), '1000\n');
      writeFileSync(join(module, 'hashsize'), '256\n');
      const wanted = new Map([
        ['nf_conntrack_absent', 1],
        ['nf_conntrack_max', 131_072],
      ]);
      await applyConntrackSysctls(wanted, root, logger);
      assert.equal(readFileSync(join(sysctls, 'nf_conntrack_max'), 'utf8'), '131072');
      assert.equal(readFileSync(join(module, 'hashsize'), 'utf8'), '32768');
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('prepareNode', () => {
  const { config } = loadProxyConfig(['--conntrack-max-per-core=0']);
  const chosen = (name: 'iptables' | 'nftables') => ({
    mode: createModes({ config, exec: assert.fail, clock: createFakeClock(), logger })[name],
    families: ['IPv4'] as IpFamily[],
  });

  it('lets loopback be routed where mode iptables has node ports there, and writes nothing that is right', async () => {
    const root = mkdtempSync(join(tmpdir(), 'berth-prepare-'));
    try {
      const settings = join(root, 'proc/sys/net/ipv4/conf/all');
      mkdirSync(settings, { recursive: true });
      const path = join(settings, 'route_localnet');
      writeFileSync(path, '0\n');
      await prepareNode(config, chosen('nftables'), root, logger);
      assert.equal(readFileSync(path, 'utf8'), '0\n');
      const { config: without } = loadProxyConfig([
        '--iptables-localhost-nodeports=false',
        '--conntrack-max-per-core=0',
      ]);
      await prepareNode(without, chosen('iptables'), root, logger);
      assert.equal(readFileSync(path, 'utf8'), '0\n');
      await prepareNode(config, chosen('iptables'), root, logger);
      assert.equal(readFileSync(path, 'utf8'), '1');
      const { mtimeMs } = statSync(path);
      await prepareNode(config, chosen('iptables'), root, logger);
      assert.equal(statSync(path).mtimeMs, mtimeMs);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

describe('the configuration file', () => {
  it('ends the proxy when it becomes another one, and not while it is away', async () => {
    const root = mkdtempSync(join(tmpdir(), 'berth-watched-'));
    const stop = new AbortController();
    try {
      const path = join(root, 'config.conf');
      writeFileSync(path, 'a: 1\n');
      const clock = createFakeClock();
      let end: unknown = 'none';
      const running = createConfigFileWatch(path, 'a: 1\n', clock)
        .run(stop.signal)
        .catch((error: unknown) => {
          end = error;
        });
      const look = () => eventually('it waits again or has ended', async () => clock.pending > 0 || end !== 'none');
      await clock.advance(10_000);
      await look();
      rmSync(path);
      await clock.advance(10_000);
      await look();
      assert.equal(end, 'none');
      writeFileSync(path, 'a: 2\n');
      await clock.advance(10_000);
      await running;
      assert.match(String(end), /content of the proxy server's configuration file was updated/);
    } finally {
      stop.abort();
      rmSync(root, { recursive: true });
    }
  });
});
