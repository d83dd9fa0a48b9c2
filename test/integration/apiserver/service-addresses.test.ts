// The service network as API objects: an IPAddress for each cluster IP, and ranges that are added and taken away.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { ipaddresses, servicecidrs, services } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const bounds = { timeout: 120_000 };
const ports = [{ name: 'http', port: 80, protocol: 'TCP' }];
const notFound = { code: 'NotFound' };
const invalid = { code: 'Invalid' };

describe('the service network', bounds, () => {
  let plane: TestControlPlane;
  before(async () => {
    plane = await startControlPlane(['--service-cluster-ip-range=10.96.0.0/28']);
  });
  after(() => plane?.stop());

  const createService = async (name: string, clusterIP?: string): Promise<string> => {
    const own = clusterIP === undefined ? {} : { clusterIP };
    const { spec } = await plane.client.create(services, 'default', { metadata: { name }, spec: { ports, ...own } });
    return spec?.clusterIP ?? '';
  };
  const removeService = (name: string) => plane.client.delete(services, { namespace: 'default', name });
  const createRange = (name: string, ...cidrs: string[]) =>
    plane.client.create(servicecidrs, undefined, { metadata: { name }, spec: { cidrs } });
  const range = (name: string): Promise<ServiceCIDR> => plane.client.get(servicecidrs, { name });
  const readiness = ({ status }: ServiceCIDR) => status?.conditions?.find(({ type }) => type === 'Ready');
  const ready = (name: string) =>
    eventually(`${name} is ready`, async () => readiness(await range(name))?.status === 'True');
  const parent = (name: string) => ({ group: '', resource: 'services', namespace: 'default', name });

  it('ServiceCIDR and IPAddress API should support ServiceCIDR API operations', bounds, async () => {
    const own = await range('kubernetes');
    assert.deepEqual(own.spec.cidrs, ['10.96.0.0/28']);
    const path = '/apis/networking.k8s.io/v1/servicecidrs/kubernetes/status';
    const status = await plane.client.raw<ServiceCIDR>({ method: 'GET', path });
    assert.equal(status.kind, 'ServiceCIDR');
    assert.equal(status.metadata.uid, own.metadata.uid);
    const listed = await plane.client.list(servicecidrs, {});
    assert.ok(listed.items.some(({ metadata }) => metadata.name === 'kubernetes'));
    const signal = AbortSignal.timeout(60_000);
    const { resourceVersion } = listed.metadata;
    const watch = plane.client.watch(servicecidrs, { resourceVersion, signal });
    await createRange('watched', '198.51.100.0/24');
    for await (const event of watch) {
      if (event.type !== 'ADDED') continue;
      assert.equal(event.object.metadata.name, 'watched');
      break;
    }
    await ready('watched');
    await plane.client.patch(servicecidrs, { name: 'watched' }, 'merge', { metadata: { labels: { a: 'b' } } });
    await plane.client.deleteCollection(servicecidrs, { labelSelector: 'a=b' });
    await eventually(
      'the range is gone',
      async () => (await plane.client.list(servicecidrs, {})).items.length === 1,
      60_000,
    );
  });

  it('ServiceCIDR and IPAddress API should support IPAddress API operations', bounds, async () => {
    const parentRef = { group: 'mygroup', resource: 'myresources', namespace: 'foo', name: 'bar' };
    const create = (name: string, type: string) =>
      plane.client.create(ipaddresses, undefined, { metadata: { name, labels: { type } }, spec: { parentRef } });
    const name = '255.255.255.255';
    const created = await create(name, 'broadcast');
    await create('fe80::42:1dff:fe84:f9e2', 'link-local');
    const annotations = { patched: 'true' };
    const patched = await plane.client.patch(ipaddresses, { name }, 'merge', { metadata: { annotations } });
    assert.equal(patched.metadata.annotations?.['patched'], 'true');
    assert.ok(Number(patched.metadata.resourceVersion) > Number(created.metadata.resourceVersion));
    const metadata = { ...patched.metadata, annotations: { ...annotations, updated: 'true' } };
    const updated = await plane.client.update(ipaddresses, { ...patched, metadata });
    assert.equal(updated.metadata.annotations?.['updated'], 'true');
    assert.deepEqual((await plane.client.get(ipaddresses, { name })).spec.parentRef, parentRef);
    const labelSelector = 'type=broadcast';
    const listed = await plane.client.list(ipaddresses, { labelSelector });
    assert.equal(listed.items.length, 1);
    const { resourceVersion } = listed.metadata;
    const watch = plane.client.watch(ipaddresses, {
      labelSelector,
      resourceVersion,
      signal: AbortSignal.timeout(60_000),
    });
    await plane.client.delete(ipaddresses, { name });
    for await (const event of watch) if (event.type === 'DELETED') break;
    await plane.client.deleteCollection(ipaddresses, { labelSelector: 'type=link-local' });
    assert.deepEqual((await plane.client.list(ipaddresses, { labelSelector: 'type=link-local' })).items, []);
  });

  it('notes whose each cluster IP is, from the first answer to the last', async () => {
    const name = await createService('web');
    const address = await plane.client.get(ipaddresses, { name });
    assert.deepEqual(address.spec.parentRef, parent('web'));
    assert.deepEqual(address.metadata.labels, {
      'ipaddress.kubernetes.io/ip-family': 'IPv4',
      'ipaddress.kubernetes.io/managed-by': 'ipallocator.k8s.io',
    });
    assert.deepEqual((await plane.client.get(ipaddresses, { name: '10.96.0.1' })).spec.parentRef, parent('kubernetes'));
    await removeService('web');
    await assert.rejects(plane.client.get(ipaddresses, { name }), notFound);
    await createService('other', name);
    assert.deepEqual((await plane.client.get(ipaddresses, { name })).spec.parentRef, parent('other'));
    await plane.client.delete(ipaddresses, { name });
    await eventually('the address of a service is noted again', () => plane.client.get(ipaddresses, { name }), 30_000);
    await removeService('other');
  });

  it('gives services no address that is somebody else’s', async () => {
    const parentRef = { group: 'example.org', resource: 'machines', name: 'm1' };
    await plane.client.create(ipaddresses, undefined, { metadata: { name: '10.96.0.9' }, spec: { parentRef } });
    await assert.rejects(createService('taken', '10.96.0.9'), invalid);
    await plane.client.delete(ipaddresses, { name: '10.96.0.9' });
    assert.equal(await createService('taken', '10.96.0.9'), '10.96.0.9');
    await removeService('taken');
  });

  it('takes addresses of another range when the first is full, and keeps it until they are free', bounds, async () => {
    await assert.rejects(createService('early', '203.0.113.10'), invalid);
    await createRange('more', '203.0.113.0/24');
    await ready('more');
    assert.deepEqual((await range('more')).metadata.finalizers, ['networking.k8s.io/service-cidr-finalizer']);
    assert.equal(await createService('chosen', '203.0.113.10'), '203.0.113.10');
    const names = Array.from({ length: 14 }, (_, index) => `filler-${index}`);
    const given = [];
    for (const name of names) given.push(await createService(name));
    assert.ok(
      given.some((address) => address.startsWith('203.0.113.')),
      given.join(),
    );
    await plane.client.delete(servicecidrs, { name: 'more' });
    await eventually(
      'the range says why it stays',
      async () => readiness(await range('more'))?.reason === 'Terminating',
      30_000,
    );
    await assert.rejects(createService('late', '203.0.113.11'), invalid);
    await assert.rejects(createService('late'), { code: 'InternalError' });
    await Promise.all([...names, 'chosen'].map(removeService));
    await eventually(
      'the range is gone',
      async () => (await plane.client.list(servicecidrs, {})).items.length === 1,
      60_000,
    );
  });

  it('refuses ranges and addresses that are none', async () => {
    const message = (text: RegExp) => ({ ...invalid, message: text });
    await assert.rejects(createRange('bad', '10.0.0.1/24'), message(/must be in canonical form/));
    await assert.rejects(
      createRange('bad', '10.0.0.0/24', '10.1.0.0/24'),
      message(/no more than one IP for each IP family/),
    );
    await assert.rejects(createRange('bad'), message(/at least one CIDR required/));
    const spec = { parentRef: { resource: 'r', name: 'n' } };
    await assert.rejects(
      plane.client.create(ipaddresses, undefined, { metadata: { name: '2001:DB8::1' }, spec }),
      message(/canonical form|Invalid value/),
    );
  });
});
