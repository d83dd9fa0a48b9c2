import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { cleanupNftables, createNft } from '../../../proxy/apply/nft.ts';
import { createNftablesApplier } from '../../../proxy/apply/nftables-applier.ts';
import type { ServiceState } from '../../../proxy/apply/rule-applier.ts';
import type { IpFamily } from '../../../proxy/model/service-port.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createNetworkNamespace, namespacesUnavailable } from '../../support/network-namespace.ts';
import { nftOptions, parseNftTable, recordedListing } from '../../support/nft-listing.ts';
import { recordedStates, recordingNames } from '../../support/proxy-recordings.ts';

const logger = pino({ level: 'silent' });
const skip = namespacesUnavailable() ?? false;

function setup(exec: Exec, family: IpFamily = 'IPv4') {
  const { base, services } = nftOptions(family);
  const clock = createFakeClock();
  const nft = createNft(exec, family);
  return { nft, clock, applier: createNftablesApplier(nft, { base: () => base, services }, clock, logger) };
}

async function listed(exec: Exec, family: IpFamily = 'IPv4'): Promise<Record<string, string[]>> {
  return parseNftTable(await execOrThrow(exec, 'nft', ['list', 'ruleset']), family);
}

describe('the nftables applier on the kernel', { skip }, () => {
  for (const name of recordingNames) {
    it(`leaves ${name} in the kernel as kube-proxy does`, async () => {
      await using namespace = await createNetworkNamespace('berth-nft');
      for (const family of ['IPv4', 'IPv6'] as const) {
        await setup(namespace.exec, family).applier.sync(recordedStates(name, family));
        assert.deepEqual(await listed(namespace.exec, family), parseNftTable(recordedListing(name), family));
      }
    });
  }

  it('reaches the same rules by random changes as by one full transaction', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    const { applier, clock } = setup(namespace.exec);
    // The same services with and without endpoints, with affinity and without, and gone.
    const states = recordingNames.flatMap((name) => [...recordedStates(name, 'IPv4')]);
    const variants = states.map(([key, ports]): [string, ServiceState[]] => {
      const none = new Map(
        [...ports].map(([id, { port }]) => {
          return [id, { port, endpoints: { cluster: [], local: [], reachable: [], serving: [], any: false } }] as const;
        }),
      );
      const sticky = (seconds: number): ServiceState =>
        new Map(
          [...ports].map(([id, { port, endpoints }]) => {
            return [id, { port: { ...port, affinitySeconds: seconds }, endpoints }] as const;
          }),
        );
      return [key, [ports, none, new Map(), sticky(60), sticky(90)]];
    });
    let seed = 1;
    const next = (below: number): number => {
      seed = (seed * 48271) % 2147483647;
      return seed % below;
    };
    assert.equal((await applier.sync(new Map())).full, true);
    const last = new Map<string, ServiceState>();
    for (let i = 0; i < 500; i += 1) {
      const [key, choices] = variants[next(variants.length)] ?? assert.fail();
      const state = choices[next(choices.length)] ?? assert.fail();
      last.set(key, state);
      const { full } = await applier.sync(new Map([[key, state]]));
      assert.equal(full, false, 'the kernel took the change');
      await clock.advance(300);
    }
    await clock.advance(2000);
    assert.equal(await applier.isIntact(), true);
    await using fresh = await createNetworkNamespace('berth-nft');
    await setup(fresh.exec).applier.sync(last);
    assert.deepEqual(await listed(namespace.exec), await listed(fresh.exec));
  });

  it('takes over what an earlier proxy left, whose rules were other ones', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    await execOrThrow(namespace.exec, 'nft', ['-f', '-'], { input: recordedListing('affinity-and-external-ip') });
    const { applier, clock } = setup(namespace.exec);
    await applier.sync(recordedStates('load-balancer', 'IPv4'));
    await clock.advance(2000);
    assert.equal(await applier.isIntact(), true);
    assert.deepEqual(await listed(namespace.exec), parseNftTable(recordedListing('load-balancer'), 'IPv4'));
  });

  it('keeps the clients that stick to an endpoint when it starts again', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    const states = recordedStates('affinity-and-external-ip', 'IPv4');
    await setup(namespace.exec).applier.sync(states);
    const set = 'affinity-CUST6LHO-demo/sticky/tcp/http__10.244.0.11/8080';
    await execOrThrow(namespace.exec, 'nft', ['add', 'element', 'ip', 'kube-proxy', set, '{ 192.0.2.77 }']);
    await setup(namespace.exec).applier.sync(states);
    assert.match((await listed(namespace.exec))[`set ${set}`]?.at(-1) ?? '', /^element 192\.0\.2\.77/);
  });

  it('makes a table anew whose chains were made with another hook', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    const input = 'table ip kube-proxy { chain nat-output { type nat hook output priority 50; policy accept; }; }';
    await execOrThrow(namespace.exec, 'nft', ['-f', '-'], { input });
    const { applier } = setup(namespace.exec);
    const states = recordedStates('cluster-ip', 'IPv4');
    await assert.rejects(applier.sync(states));
    await applier.sync(states);
    assert.deepEqual(await listed(namespace.exec), parseNftTable(recordedListing('cluster-ip'), 'IPv4'));
  });

  it('notices that its rules or its table were removed', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    const { applier } = setup(namespace.exec);
    await applier.sync(new Map());
    assert.equal(await applier.isIntact(), true);
    await execOrThrow(namespace.exec, 'nft', ['flush', 'chain', 'ip', 'kube-proxy', 'services']);
    assert.equal(await applier.isIntact(), false);
    applier.forceFull();
    await applier.sync(new Map());
    assert.equal(await applier.isIntact(), true);
    await execOrThrow(namespace.exec, 'nft', ['flush', 'ruleset']);
    assert.equal(await applier.isIntact(), false);
  });

  it('cleans up its table and nothing else', async () => {
    await using namespace = await createNetworkNamespace('berth-nft');
    const foreign = 'table ip foreign { chain a { ip daddr 192.0.2.99 drop; }; }';
    await execOrThrow(namespace.exec, 'nft', ['-f', '-'], { input: foreign });
    const before = await execOrThrow(namespace.exec, 'nft', ['list', 'ruleset']);
    const { applier, nft } = setup(namespace.exec);
    await applier.sync(recordedStates('node-port', 'IPv4'));
    await cleanupNftables(nft, 'IPv4');
    await cleanupNftables(nft, 'IPv4');
    assert.equal(await execOrThrow(namespace.exec, 'nft', ['list', 'ruleset']), before);
  });
});
