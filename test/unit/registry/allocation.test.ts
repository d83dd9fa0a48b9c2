// Cluster IPs and node ports.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { AddressPool } from '../../../control-plane-lite/registry/allocation/address-pool.ts';
import { PortPool } from '../../../control-plane-lite/registry/allocation/port-pool.ts';
import {
  createServiceAllocator,
  type ServiceAllocator,
} from '../../../control-plane-lite/registry/allocation/service-allocator.ts';
import {
  addressLabels,
  canRemoveRange,
  rangeContains,
  selectRanges,
} from '../../../control-plane-lite/registry/allocation/service-ranges.ts';

const port = (number: number, protocol: string, nodePort?: number) => ({
  port: number,
  protocol,
  ...(nodePort === undefined ? {} : { nodePort }),
});

describe('the pool of addresses', () => {
  it('counts addresses from the first usable one', () => {
    assert.equal(new AddressPool('10.96.0.0/16').nth(1), '10.96.0.1');
    assert.equal(new AddressPool('10.96.0.0/16').nth(10), '10.96.0.10');
    assert.throws(() => new AddressPool('nonsense'), /is not a network/);
  });

  it('hands out every address once and then none', () => {
    const pool = new AddressPool('10.0.0.0/28');
    const taken = Array.from({ length: 14 }, () => pool.takeAny());
    assert.equal(new Set(taken).size, 14);
    assert.equal(pool.takeAny(), undefined);
    pool.release(taken[3] ?? '');
    assert.equal(pool.takeAny(), taken[3]);
  });

  it('leaves the lower band to those who choose, while it can', () => {
    const pool = new AddressPool('10.96.0.0/24');
    for (let index = 0; index < 100; index += 1) assert.ok(Number(pool.takeAny()?.split('.')[3]) > 16);
  });

  it('refuses what is outside or taken', () => {
    const pool = new AddressPool('10.96.0.0/16');
    assert.equal(pool.take('10.97.0.1'), 'outside');
    assert.equal(pool.take('10.96.0.0'), 'outside');
    assert.equal(pool.take('10.96.3.3'), undefined);
    assert.equal(pool.take('10.96.3.3'), 'taken');
  });
});

describe('the ranges of the service network', () => {
  const cidr = (name: string, cidrs: string[], more: object = {}) =>
    ({ metadata: { name, ...more }, spec: { cidrs } }) as unknown as ServiceCIDR;
  const ending = { deletionTimestamp: '2026-01-01T00:00:00Z' };
  const address = (name: string) =>
    ({ metadata: { name, labels: addressLabels(name) }, spec: {} }) as unknown as IPAddress;

  it('are the server’s own and those of ready objects', () => {
    const all = [
      cidr('kubernetes', ['10.96.0.0/16']),
      cidr('b', ['10.97.0.0/24']),
      cidr('c', ['10.98.0.0/24'], ending),
    ];
    assert.deepEqual(selectRanges(['10.96.0.0/16'], all), ['10.96.0.0/16', '10.97.0.0/24']);
    assert.deepEqual(selectRanges(['10.96.0.0/16'], []), ['10.96.0.0/16']);
    assert.deepEqual(selectRanges(['10.96.0.0/16'], [cidr('kubernetes', ['10.96.0.0/16'], ending)]), []);
  });

  it('contain addresses and smaller ranges of their family', () => {
    assert.ok(rangeContains('10.96.0.0/16', '10.96.3.0/24'));
    assert.ok(!rangeContains('10.96.3.0/24', '10.96.0.0/16'));
    assert.ok(rangeContains('2001:db8::/64', '2001:db8::5'));
    assert.ok(!rangeContains('0.0.0.0/0', '2001:db8::5'));
  });

  it('go only when each address of a service is in another', () => {
    const removed = cidr('a', ['10.97.0.0/24']);
    assert.ok(canRemoveRange(removed, [removed], [address('10.96.0.1')]));
    assert.ok(!canRemoveRange(removed, [removed], [address('10.97.0.1')]));
    assert.ok(canRemoveRange(removed, [removed, cidr('b', ['10.97.0.0/16'])], [address('10.97.0.1')]));
    assert.ok(canRemoveRange(removed, [removed, cidr('b', ['10.97.0.0/28'])], [address('10.97.0.1')]));
    assert.ok(!canRemoveRange(removed, [removed, cidr('b', ['10.97.0.0/28'])], [address('10.97.0.200')]));
  });

  it('are used in their order, and addresses of others are left alone', () => {
    const pool = new AddressPool('10.0.0.0/28');
    pool.setRanges(['10.0.0.0/28', '10.1.0.0/30', '2001:db8::/64']);
    pool.reserve('10.1.0.1');
    const given = Array.from({ length: 15 }, () => pool.takeAny());
    assert.equal(given[14], '10.1.0.2');
    assert.equal(pool.takeAny(), undefined);
    assert.equal(pool.take('10.1.0.1'), 'taken');
    pool.setRanges([]);
    assert.equal(pool.take('10.0.0.3'), 'outside');
  });
});

const owner = { namespace: 'default', name: 'web', uid: 'u' };
type Spec = Parameters<ServiceAllocator['allocate']>[0];

/** Nobody else is asked: the steps end without waiting. */
const allocateIn = (allocator: ServiceAllocator) => (spec: Spec) => {
  const step = allocator.allocate(spec, undefined, owner).next();
  assert.ok(step.done === true);
  return step.value;
};

describe('the allocator of services', () => {
  const create = () => {
    const addresses = new AddressPool('10.96.0.0/24');
    const allocator = createServiceAllocator({ addresses: [addresses], ports: new PortPool(30000, 30003) });
    return { addresses, allocator, allocate: allocateIn(allocator) };
  };

  it('gives back what it took when the write fails', () => {
    const { addresses, allocate } = create();
    const { undo } = allocate({ type: 'NodePort', ports: [port(80, 'TCP')] });
    assert.equal(addresses.taken, 1);
    undo();
    assert.equal(addresses.taken, 0);
  });

  it('uses one node port for both protocols of a port', () => {
    const { allocate } = create();
    const spec = { type: 'NodePort', ports: [port(53, 'TCP'), port(53, 'UDP')] };
    allocate(spec);
    const [first, second] = spec.ports as { nodePort?: number }[];
    assert.equal(first?.nodePort, second?.nodePort);
  });

  it('frees the node ports that a stored service no longer has', () => {
    const { allocator, allocate } = create();
    const before = { type: 'NodePort', clusterIP: '10.96.0.9', ports: [port(80, 'TCP', 30001)] };
    allocator.observe(undefined, before, owner);
    const other = { type: 'NodePort', ports: [port(80, 'TCP', 30001)] };
    assert.match(allocate(other).errors[0]?.message ?? '', /provided port is already allocated/);
    allocator.observe(before, { type: 'ClusterIP', clusterIP: '10.96.0.9', ports: [port(80, 'TCP')] }, owner);
    assert.deepEqual(allocate({ ...other, clusterIP: 'None' }).errors, []);
  });

  it('takes no address for headless and external services', () => {
    const { addresses, allocate } = create();
    allocate({ type: 'ExternalName', externalName: 'x' });
    allocate({ clusterIP: 'None' });
    assert.equal(addresses.taken, 0);
  });
});
