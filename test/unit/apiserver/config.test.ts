// Flags of the control plane: what they mean, and one clear line for what is wrong.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultAdvertiseAddress, parseControlPlaneConfig } from '../../../control-plane-lite/config.ts';

const parse = (...argv: string[]) => parseControlPlaneConfig(argv).config;

describe('flags of the control plane', () => {
  it('have the defaults of a single machine', () => {
    const config = parse('--advertise-address=192.0.2.2');
    assert.deepEqual(
      [config.securePort, config.serviceCidrs, config.clusterCidr, config.nodePorts, config.store],
      [6443, ['10.96.0.0/16'], '10.244.0.0/16', { first: 30000, last: 32767 }, { kind: 'embedded' }],
    );
  });

  it('choose the store by either name', () => {
    const etcd = {
      kind: 'etcd',
      endpoints: 'http://a:2379',
      caFile: undefined,
      certFile: undefined,
      keyFile: undefined,
    };
    assert.deepEqual(parse('--store=etcd=http://a:2379').store, etcd);
    assert.deepEqual(parse('--etcd-servers=http://a:2379').store, etcd);
    assert.deepEqual(parse('--store=embedded').store, { kind: 'embedded' });
  });

  const wrong: [string, RegExp][] = [
    ['--nope=1', /unknown flag --nope/],
    ['--secure-port=x', /--secure-port takes a whole number/],
    ['--secure-port=70000', /--secure-port takes a port/],
    ['--service-cluster-ip-range=10.0.0.0', /--service-cluster-ip-range takes an IPv4 network/],
    ['--cluster-cidr=10.244.0.0', /--cluster-cidr takes a network/],
    ['--cluster-cidr=10.244.0.0/16,10.245.0.0/16', /--cluster-cidr takes a network/],
    ['--service-cluster-ip-range=fd00::/112', /--service-cluster-ip-range takes an IPv4 network/],
    ['--service-cluster-ip-range=10.0.0.0/16,10.1.0.0/16', /and after a comma an IPv6 network/],
    ['--service-node-port-range=5', /--service-node-port-range takes FIRST-LAST/],
    ['--advertise-address=host', /--advertise-address takes an IPv4 address/],
    ['--store=redis', /--store takes embedded or etcd=URL/],
  ];
  for (const [flag, message] of wrong) {
    it(`refuses ${flag}`, () => assert.throws(() => parse(flag), message));
  }

  it('advertise the first address that is not loopback', () => {
    const entry = (address: string, internal: boolean) => ({
      address,
      internal,
      family: 'IPv4' as const,
      netmask: '255.255.255.0',
      mac: '',
      cidr: null,
    });
    assert.equal(
      defaultAdvertiseAddress({ lo: [entry('127.0.0.1', true)], eth0: [entry('192.0.2.9', false)] }),
      '192.0.2.9',
    );
    assert.equal(defaultAdvertiseAddress({ lo: [entry('127.0.0.1', true)] }), '127.0.0.1');
  });
});
