import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { execOrThrow } from '#kube/process/exec.ts';
import { createIptables } from '../../../proxy/apply/iptables.ts';
import { createIptablesApplier } from '../../../proxy/apply/iptables-applier.ts';
import { cleanupIptables } from '../../../proxy/apply/iptables-cleanup.ts';
import { computeServiceState } from '../../../proxy/model/service-state.ts';
import { planLocalTraffic } from '../../../proxy/plan/iptables/local-traffic.ts';
import { createNetworkNamespace, namespacesUnavailable } from '../../support/network-namespace.ts';
import {
  baseOptions,
  parseSave,
  recordedObjects,
  recordedSave,
  recordedStates,
  recordingNames,
} from '../../support/proxy-recordings.ts';

const logger = pino({ level: 'silent' });
const skip = namespacesUnavailable() ?? false;
const node = { nodeName: 'node-a', zone: 'zone-1' };

const statesOf = (name: string) => recordedStates(name, 'IPv4');

const options = {
  base: baseOptions('IPv4'),
  services: {
    localTraffic: planLocalTraffic({ mode: 'ClusterCIDR', cidrs: ['10.244.0.0/16'] }, 'IPv4'),
    masqueradeAll: false,
    nodeIPs: ['192.0.2.10'],
  },
};

function comparable(save: string): Record<string, string[]> {
  return Object.fromEntries([...parseSave(save)].map(([chain, rules]) => [chain, [...rules].sort()]));
}

describe('the iptables applier on the kernel', { skip }, () => {
  for (const name of recordingNames) {
    it(`leaves ${name} in the kernel as kube-proxy does`, async () => {
      await using namespace = await createNetworkNamespace('berth-ipt');
      const applier = createIptablesApplier(createIptables(namespace.exec, 'IPv4'), options, logger);
      await applier.sync(statesOf(name));
      const saved = await execOrThrow(namespace.exec, 'iptables-save', []);
      const actual = comparable(saved);
      for (const [chain, rules] of Object.entries(comparable(recordedSave(name, 'IPv4')))) {
        assert.deepEqual(actual[chain] ?? [], rules, chain);
      }
    });
  }

  it('reaches the same rules by changes as by one full transaction', async () => {
    await using namespace = await createNetworkNamespace('berth-ipt');
    const iptables = createIptables(namespace.exec, 'IPv4');
    const applier = createIptablesApplier(iptables, options, logger);
    assert.equal((await applier.sync(new Map())).full, true);
    for (const [key, states] of statesOf('load-balancer')) {
      assert.equal((await applier.sync(new Map([[key, states]]))).full, false);
    }
    const grown = comparable(await execOrThrow(namespace.exec, 'iptables-save', []));
    applier.forceFull();
    await applier.sync(new Map());
    assert.deepEqual(comparable(await execOrThrow(namespace.exec, 'iptables-save', [])), grown);
    for (const key of statesOf('load-balancer').keys()) await applier.sync(new Map([[key, new Map()]]));
    const emptied = await execOrThrow(namespace.exec, 'iptables-save', []);
    assert.doesNotMatch(emptied, /KUBE-(SVC|SVL|EXT|FW|SEP)-/);
  });

  it('deletes service chains that an earlier proxy left behind', async () => {
    await using namespace = await createNetworkNamespace('berth-ipt');
    const iptables = createIptables(namespace.exec, 'IPv4');
    await createIptablesApplier(iptables, options, logger).sync(statesOf('node-port'));
    await createIptablesApplier(iptables, options, logger).sync(statesOf('cluster-ip'));
    const saved = await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat']);
    assert.doesNotMatch(saved, /demo\/np/);
    assert.equal(saved.match(/-A PREROUTING .*KUBE-SERVICES/g)?.length, 1, 'entry rules are not doubled');
  });

  it('writes a large table as a whole and leaves foreign rules where they are', async () => {
    await using namespace = await createNetworkNamespace('berth-ipt');
    const iptables = createIptables(namespace.exec, 'IPv4');
    await execOrThrow(namespace.exec, 'iptables', ['-t', 'nat', '-N', 'FOREIGN']);
    await execOrThrow(namespace.exec, 'iptables', [
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      '-d',
      '192.0.2.99',
      '-j',
      'FOREIGN',
    ]);
    const [template] = recordedObjects('cluster-ip').services;
    const [slice] = recordedObjects('cluster-ip').slices;
    assert.ok(template && slice);
    const many = new Map(
      Array.from({ length: 300 }, (_, i) => {
        const name = `many-${i}`;
        const clusterIP = `10.97.${i >> 8}.${i & 255}`;
        const spec = { ...template.spec, clusterIP };
        const service = { ...template, metadata: { ...template.metadata, name }, spec };
        return [`demo/${name}`, computeServiceState(service, [slice], 'IPv4', node)] as const;
      }),
    );
    const applier = createIptablesApplier(iptables, options, logger);
    await applier.sync(many);
    const saved = await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat']);
    assert.equal(saved.match(/-A KUBE-SERVICES -d 10\.97/g)?.length, 300);
    assert.match(saved, /KUBE-SERVICES\n-A PREROUTING -d 192\.0\.2\.99\/32 -j FOREIGN/);
    // The same by small steps gives the same rules.
    await applier.sync(new Map([['demo/many-7', new Map()]]));
    await applier.sync(new Map([['demo/many-7', many.get('demo/many-7') ?? new Map()]]));
    assert.deepEqual(comparable(await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat'])), comparable(saved));
  });

  it('notices that its chains were removed', async () => {
    await using namespace = await createNetworkNamespace('berth-ipt');
    const applier = createIptablesApplier(createIptables(namespace.exec, 'IPv4'), options, logger);
    await applier.sync(new Map());
    assert.equal(await applier.isIntact(), true);
    await execOrThrow(namespace.exec, 'iptables', ['-t', 'mangle', '-X', 'KUBE-PROXY-CANARY']);
    assert.equal(await applier.isIntact(), false);
  });

  it('cleans up everything of its own and nothing else', async () => {
    await using namespace = await createNetworkNamespace('berth-ipt');
    const iptables = createIptables(namespace.exec, 'IPv4');
    await execOrThrow(namespace.exec, 'iptables', ['-t', 'nat', '-N', 'FOREIGN']);
    await execOrThrow(namespace.exec, 'iptables', [
      '-t',
      'nat',
      '-A',
      'PREROUTING',
      '-d',
      '192.0.2.99',
      '-j',
      'FOREIGN',
    ]);
    const before = comparable(await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat']));
    await createIptablesApplier(iptables, options, logger).sync(statesOf('node-port'));
    await cleanupIptables(iptables);
    const after = await execOrThrow(namespace.exec, 'iptables-save', []);
    assert.doesNotMatch(after, /KUBE-/);
    assert.deepEqual(comparable(await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat'])), before);
  });
});
