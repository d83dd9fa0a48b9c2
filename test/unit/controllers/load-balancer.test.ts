import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Service, ServiceSpec } from '#kube/api/generated/core-v1.ts';
import {
  addressesOf,
  parseAddressRanges,
  rangesContain,
} from '../../../control-plane-lite/controllers/service-load-balancer/address-ranges.ts';
import {
  loadBalancerClass,
  planAddresses,
  sharingAnnotation,
  wantsAddress,
} from '../../../control-plane-lite/controllers/service-load-balancer/plan-addresses.ts';

interface Fields {
  spec?: Partial<ServiceSpec>;
  has?: string[];
  share?: string;
  namespace?: string;
}

function service(name: string, { spec, has = [], share, namespace = 'default' }: Fields = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name,
      namespace,
      uid: `uid-${namespace}-${name}`,
      ...(share === undefined ? {} : { annotations: { [sharingAnnotation]: share } }),
    },
    spec: { type: 'LoadBalancer', ipFamilies: ['IPv4'], ports: [{ port: 80 }], ...spec },
    status: { loadBalancer: { ingress: has.map((ip) => ({ ip })) } },
  };
}

const ranges = parseAddressRanges(['192.0.2.10-192.0.2.12', '2001:db8::/126']);
const useOf = (...services: Service[]) => {
  const use = new Map<string, Service[]>();
  for (const each of services) {
    for (const { ip = '' } of each.status?.loadBalancer?.ingress ?? []) use.set(ip, [...(use.get(ip) ?? []), each]);
  }
  return use;
};

describe('ranges of a pool', () => {
  it('are first and last, networks, or one address', () => {
    const list = (text: string) => [...addressesOf(parseAddressRanges([text]), text.includes(':') ? 6 : 4)];
    assert.deepEqual(list('192.0.2.254-192.0.3.1'), ['192.0.2.254', '192.0.2.255', '192.0.3.0', '192.0.3.1']);
    assert.deepEqual(list('192.0.2.0/30'), ['192.0.2.1', '192.0.2.2'], "without the network's own addresses");
    assert.deepEqual(list('192.0.2.5/32'), ['192.0.2.5']);
    assert.deepEqual(list('2001:DB8::fffe - 2001:db8::1:0'), ['2001:db8::fffe', '2001:db8::ffff', '2001:db8::1:0']);
  });

  it('are refused when they are none, backwards, of two families, or overlap', () => {
    for (const text of ['x', '192.0.2.9-192.0.2.1', '192.0.2.1-::1', '192.0.2.0/33', '1-2-3', '']) {
      assert.throws(() => parseAddressRanges([text]), /--load-balancer-pool takes ranges/, text);
    }
    assert.throws(() => parseAddressRanges(['192.0.2.0/28', '192.0.2.8-192.0.2.20']), /addresses in common/);
  });

  it('know what is theirs', () => {
    assert.ok(rangesContain(ranges, '192.0.2.11'));
    assert.ok(rangesContain(ranges, '2001:db8:0::2'));
    for (const address of ['192.0.2.13', '2001:db8::9', 'x']) assert.ok(!rangesContain(ranges, address), address);
  });
});

describe('addresses for services', () => {
  it('are the first that are free, and stay', () => {
    const first = service('a', { has: ['192.0.2.10'] });
    assert.deepEqual(planAddresses(service('b'), ranges, useOf(first)), { addresses: ['192.0.2.11'] });
    const later = service('c', { has: ['192.0.2.12'] });
    assert.deepEqual(planAddresses(later, ranges, useOf(first, later)), { addresses: ['192.0.2.12'] });
  });

  it('are of each family that the service has', () => {
    const dual = service('a', { spec: { ipFamilies: ['IPv6', 'IPv4'] } });
    assert.deepEqual(planAddresses(dual, ranges, useOf()), { addresses: ['2001:db8::', '192.0.2.10'] });
    const only4 = parseAddressRanges(['192.0.2.10']);
    assert.deepEqual(planAddresses(dual, only4, useOf()), { addresses: ['192.0.2.10'] });
    const six = service('b', { spec: { ipFamilies: ['IPv6'] } });
    assert.match(JSON.stringify(planAddresses(six, only4, useOf())), /no address of the families IPv6/);
  });

  it('are the one that is asked for, if it can be had', () => {
    const asks = (loadBalancerIP: string) => service('b', { spec: { loadBalancerIP } });
    assert.deepEqual(planAddresses(asks('192.0.2.12'), ranges, useOf()), { addresses: ['192.0.2.12'] });
    assert.match(JSON.stringify(planAddresses(asks('192.0.2.99'), ranges, useOf())), /not in the pool/);
    const other = service('a', { has: ['192.0.2.12'] });
    const refused = planAddresses(asks('192.0.2.12'), ranges, useOf(other));
    assert.deepEqual(refused, { refusal: 'the address 192.0.2.12 is in use by the service default/a' });
    assert.match(JSON.stringify(planAddresses(asks('2001:db8::1'), ranges, useOf())), /not of a family/);
  });

  it('are refused when all are in use, in plain words', () => {
    const all = ['10', '11', '12'].map((end) => service(`s${end}`, { has: [`192.0.2.${end}`] }));
    const refusal = 'every address of the pool (192.0.2.10-192.0.2.12) is in use';
    assert.deepEqual(planAddresses(service('d'), ranges, useOf(...all)), { refusal });
  });

  it('outside of the pool are replaced', () => {
    const moved = service('a', { has: ['198.51.100.1'] });
    assert.deepEqual(planAddresses(moved, ranges, useOf(moved)), { addresses: ['192.0.2.10'] });
  });

  it('are shared by services that say so and have other ports', () => {
    const web = service('web', { has: ['192.0.2.10'], share: 'edge' });
    const plan = (fields: Fields) => planAddresses(service('dns', fields), ranges, useOf(web));
    const other = { ports: [{ port: 53, protocol: 'UDP' }] };
    assert.deepEqual(plan({ share: 'edge', spec: other }), { addresses: ['192.0.2.10'] });
    assert.deepEqual(plan({ share: 'edge', spec: { ports: [{ port: 80, protocol: 'UDP' }] } }), {
      addresses: ['192.0.2.10'],
    });
    assert.deepEqual(plan({ share: 'edge' }), { addresses: ['192.0.2.11'] }, 'the same port');
    assert.deepEqual(plan({ spec: other }), { addresses: ['192.0.2.11'] }, 'nothing said');
    assert.deepEqual(plan({ share: 'edge', spec: other, namespace: 'x' }), { addresses: ['192.0.2.11'] });
    const local = { ...other, externalTrafficPolicy: 'Local' };
    assert.deepEqual(
      plan({ share: 'edge', spec: local }),
      { addresses: ['192.0.2.11'] },
      'traffic goes to other nodes',
    );
  });

  it('are not for services of another class or type', () => {
    assert.ok(wantsAddress(service('a')));
    assert.ok(wantsAddress(service('a', { spec: { loadBalancerClass } })));
    assert.ok(!wantsAddress(service('a', { spec: { loadBalancerClass: 'example.com/other' } })));
    assert.ok(!wantsAddress(service('a', { spec: { type: 'NodePort' } })));
  });
});
