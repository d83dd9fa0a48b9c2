import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IpFamily } from '../../../proxy/model/service-port.ts';
import { createClaimLedger } from '../../../proxy/plan/claim-ledger.ts';
import {
  endpointNames,
  isAffinitySet,
  isServiceChain,
  serviceChains,
} from '../../../proxy/plan/nftables/object-names.ts';
import { planBase } from '../../../proxy/plan/nftables/plan-base.ts';
import { planService } from '../../../proxy/plan/nftables/plan-service.ts';
import { type Leftovers, planDelta, planFull } from '../../../proxy/plan/nftables/rule-set.ts';
import { elementClaims, type ServiceRules } from '../../../proxy/plan/nftables/rules.ts';
import { nftOptions, parseNftTable, recordedListing } from '../../support/nft-listing.ts';
import { recordedStates, recordingNames } from '../../support/proxy-recordings.ts';

const nothing: Leftovers = { exists: false, chains: [], affinitySets: new Map(), containers: [] };

function planned(name: string, family: IpFamily): ServiceRules[] {
  const states = [...recordedStates(name, family).values()].flatMap((ports) => [...ports.values()]);
  return states.map(({ port, endpoints }) => planService(port, endpoints, nftOptions(family).services));
}

function full(services: ServiceRules[], family: IpFamily, leftovers = nothing, recreate = false) {
  const { added } = createClaimLedger(elementClaims).change(services.map((after) => ({ after })));
  return planFull(family, planBase(nftOptions(family).base), services, added, leftovers, recreate);
}

describe('planFull in nftables', () => {
  for (const name of recordingNames) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      it(`programs ${name} in ${family} as kube-proxy does, chain by chain`, () => {
        const { lines } = full(planned(name, family), family);
        assert.deepEqual(parseNftTable(lines.join('\n'), family), parseNftTable(recordedListing(name), family));
      });
    }
  }

  it('empties what an earlier proxy left and names its chains for deletion', () => {
    const stale = 'service-AAAAAAAA-demo/gone/tcp/http';
    const { lines, emptied } = full(planned('cluster-ip', 'IPv4'), 'IPv4', {
      exists: true,
      chains: [stale],
      affinitySets: new Map([['affinity-AAAAAAAA-demo/gone/tcp/http__10.244.0.9/80', 60]]),
      containers: ['service-ips', 'cluster-ips'],
    });
    assert.deepEqual(emptied, [stale]);
    assert.deepEqual(lines.slice(0, 4), [
      'flush table ip kube-proxy',
      'flush set ip kube-proxy cluster-ips',
      'flush map ip kube-proxy service-ips',
      'delete set ip kube-proxy affinity-AAAAAAAA-demo/gone/tcp/http__10.244.0.9/80',
    ]);
  });

  it('keeps the clients that stick to an endpoint, unless their time is another now', () => {
    const services = planned('affinity-and-external-ip', 'IPv4');
    const sets = new Map(services.flatMap(({ affinitySets }) => [...affinitySets]));
    assert.equal(sets.size, 2);
    const kept = { exists: true, chains: [], affinitySets: sets, containers: [] };
    const deletions = (leftovers: Leftovers) =>
      full(services, 'IPv4', leftovers).lines.filter((line) => line.startsWith('delete set'));
    assert.deepEqual(deletions(kept), []);
    const other = new Map([...sets.keys()].map((name) => [name, 7]));
    assert.equal(deletions({ ...kept, affinitySets: other }).length, 2);
  });

  it('makes the table anew where it cannot be fitted', () => {
    const { lines } = full([], 'IPv6', { ...nothing, exists: true }, true);
    assert.equal(lines[0], 'delete table ip6 kube-proxy');
  });
});

describe('planDelta in nftables', () => {
  const delta = (pairs: { before?: ServiceRules; after?: ServiceRules }[], others: ServiceRules[] = []) => {
    const ledger = createClaimLedger(elementClaims);
    ledger.change([...others, ...pairs.flatMap(({ before }) => before ?? [])].map((after) => ({ after })));
    return planDelta('IPv4', pairs, ledger.change(pairs));
  };
  const [web] = planned('cluster-ip', 'IPv4');
  assert.ok(web);

  it('says nothing when nothing changed', () => {
    assert.deepEqual(delta([{ before: web, after: structuredClone(web) }]), { lines: [], emptied: [] });
  });

  it('makes the chains of a new service before the elements that go to them', () => {
    const { lines } = delta([{ after: web }]);
    const chain = [...web.chains.keys()][0] ?? '';
    const at = (start: string) => lines.findIndex((line) => line.startsWith(start));
    assert.ok(at(`add chain ip kube-proxy ${chain}`) < at('add element ip kube-proxy service-ips'));
  });

  it('removes the elements of a deleted service before it empties its chains', () => {
    const { lines, emptied } = delta([{ before: web }]);
    assert.deepEqual(emptied, [...web.chains.keys()]);
    assert.ok(
      lines.findLastIndex((line) => line.startsWith('delete element')) <
        lines.findIndex((line) => line.startsWith('flush chain')),
    );
    assert.ok(!lines.some((line) => line.startsWith('delete chain')), 'chains go a moment later');
  });

  it('leaves an element that another service wants, too', () => {
    const other = { ...web, owner: 'demo/twin/TCP', chains: new Map() };
    const { lines } = delta([{ before: web }], [other]);
    assert.ok(!lines.some((line) => line.includes('hairpin-connections')));
  });

  it('gives an address that two services claim to the first by name, and on when that one goes', () => {
    const claim = (owner: string): ServiceRules => ({
      owner,
      chains: new Map(),
      affinitySets: new Map(),
      items: [{ container: 'service-ips', key: '192.0.2.9 . tcp . 80', value: { verdict: `goto ${owner}` } }],
    });
    const ledger = createClaimLedger(elementClaims);
    assert.deepEqual(ledger.change([{ after: claim('b') }]).added, claim('b').items);
    assert.deepEqual(ledger.change([{ after: claim('a') }]), {
      removed: claim('b').items,
      added: claim('a').items,
    });
    assert.deepEqual(ledger.change([{ after: claim('c') }]), { removed: [], added: [] });
    assert.deepEqual(ledger.change([{ before: claim('a') }]), {
      removed: claim('a').items,
      added: claim('b').items,
    });
  });

  it('makes sets of clients anew when their time changes, with all rules that name them', () => {
    const before = planned('affinity-and-external-ip', 'IPv4').find(({ affinitySets }) => affinitySets.size > 0);
    assert.ok(before);
    const after = structuredClone(before);
    for (const name of after.affinitySets.keys()) after.affinitySets.set(name, 60);
    const { lines } = delta([{ before, after }]);
    const flushed = lines.filter((line) => line.startsWith('flush chain'));
    assert.equal(flushed.length, before.chains.size);
    assert.ok(lines.lastIndexOf(flushed.at(-1) ?? '') < lines.findIndex((line) => line.startsWith('delete set')));
  });
});

describe('names in nftables', () => {
  const port = recordedStates('dual-stack', 'IPv6').get('demo/dual')?.get('demo/dual:http/TCP');
  assert.ok(port);

  it('tells chains of services from the others', () => {
    for (const chain of Object.values(serviceChains(port.port))) assert.equal(isServiceChain(chain), true, chain);
    for (const chain of planBase(nftOptions('IPv4').base).chains.keys())
      assert.equal(isServiceChain(chain), false, chain);
  });

  it('writes IPv6 addresses without colons', () => {
    const [endpoint] = port.endpoints.cluster;
    assert.ok(endpoint);
    const { chain, affinity } = endpointNames(port.port, endpoint);
    assert.match(chain, /^endpoint-[A-Z2-7]{8}-demo\/dual\/tcp\/http__fd00\.10\.244\.\.11\/8080$/);
    assert.equal(isAffinitySet(affinity), true);
  });

  it('stays below the length the kernel takes', () => {
    const long = { ...port.port, serviceKey: `${'n'.repeat(63)}/${'s'.repeat(190)}` };
    assert.ok(serviceChains(long).external.length <= 255);
  });
});
