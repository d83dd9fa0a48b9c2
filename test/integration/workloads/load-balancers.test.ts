// Addresses of a pool for services of type LoadBalancer.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Service, ServiceSpec } from '#kube/api/generated/core-v1.ts';
import { events, services } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const namespace = 'default';
const finalizer = 'service.kubernetes.io/load-balancer-cleanup';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane(['--load-balancer-pool=192.0.2.10-192.0.2.11']);
});
after(async () => plane.stop());

async function create(name: string, spec: Partial<ServiceSpec> = {}, annotations?: Record<string, string>) {
  return await plane.client.create(services, namespace, {
    metadata: { name, ...(annotations === undefined ? {} : { annotations }) },
    spec: { type: 'LoadBalancer', ports: [{ port: 80, protocol: 'TCP' }], ...spec },
  });
}

async function untilService(name: string, what: string, isDone: (service: Service) => boolean): Promise<Service> {
  return await eventually(what, async () => {
    const found = await plane.client.get(services, { namespace, name });
    return isDone(found) ? found : undefined;
  });
}

const addressOf = ({ status }: Service) => status?.loadBalancer?.ingress?.[0]?.ip;
const until = async (name: string, address: string | undefined) =>
  await untilService(name, `${name} has ${address ?? 'no address'}`, (found) => addressOf(found) === address);

test('services get addresses, the next one is told that there is none, and gets the one that is given back', async () => {
  await create('a');
  const first = await until('a', '192.0.2.10');
  assert.deepEqual(first.status?.loadBalancer?.ingress, [{ ip: '192.0.2.10', ipMode: 'VIP' }]);
  assert.deepEqual(first.metadata.finalizers, [finalizer]);
  await create('b');
  await until('b', '192.0.2.11');
  await create('c');
  const refused = await eventually('the refusal is told', async () => {
    const { items } = await plane.client.list(events, { namespace, fieldSelector: 'reason=SyncLoadBalancerFailed' });
    return items.find(({ involvedObject }) => involvedObject.name === 'c');
  });
  assert.match(refused.message ?? '', /every address of the pool \(192\.0\.2\.10-192\.0\.2\.11\) is in use/);
  await plane.client.delete(services, { namespace, name: 'a' });
  await until('c', '192.0.2.10');
});

test('a service of another type loses its address, its finalizer, and nothing else', async () => {
  await plane.client.patch(services, { namespace, name: 'c' }, 'merge', { spec: { type: 'ClusterIP' } });
  const plain = await untilService('c', 'the finalizer is gone', ({ metadata }) => metadata.finalizers === undefined);
  assert.equal(addressOf(plain), undefined);
  assert.notEqual(plain.spec?.clusterIP, undefined);
});

test('a service gets the address that it asks for, and keeps it', async () => {
  await create('asking', { loadBalancerIP: '192.0.2.10' });
  await until('asking', '192.0.2.10');
  await plane.client.patch(services, { namespace, name: 'asking' }, 'merge', { metadata: { labels: { a: 'b' } } });
  await until('asking', '192.0.2.10');
});

test('services share an address when they say so', async () => {
  const share = { 'berth.io/share-address': 'edge' };
  await plane.client.patch(services, { namespace, name: 'asking' }, 'merge', { metadata: { annotations: share } });
  await create('beside', { ports: [{ port: 443, protocol: 'TCP' }] }, share);
  await until('beside', '192.0.2.10');
});

test("a service of somebody else's class is left alone", async () => {
  await create('other', { loadBalancerClass: 'example.com/cloud' });
  await create('last', { loadBalancerIP: '198.51.100.1' });
  await eventually('a later service was looked at', async () => {
    const { items } = await plane.client.list(events, { namespace, fieldSelector: 'involvedObject.name=last' });
    return items.some(({ message }) => message?.includes('is not in the pool')) ? true : undefined;
  });
  const other = await plane.client.get(services, { namespace, name: 'other' });
  assert.deepEqual([addressOf(other), other.metadata.finalizers], [undefined, undefined]);
});

test('deleting them leaves nothing behind', async () => {
  for (const name of ['b', 'asking', 'beside', 'last']) await plane.client.delete(services, { namespace, name });
  await eventually('all of them are gone', async () => {
    const { items } = await plane.client.list(services, { namespace });
    return items.some(({ metadata }) => metadata.finalizers !== undefined) ? undefined : true;
  });
});
