// Services on a cluster of both address families, over the API.
import assert from 'node:assert/strict';
import { isIPv4, isIPv6 } from 'node:net';
import { after, before, describe, it } from 'node:test';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { eventually } from '../../support/eventually.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const path = '/api/v1/namespaces/default/services';
const ports = [{ port: 80 }];

describe('services of two address families', { timeout: 60_000 }, () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer(['--service-cluster-ip-range=10.96.0.0/24,fd00:10:96::/112']);
  });
  after(() => server?.close());

  const create = (name: string, spec: object) =>
    server.call<Service>('POST', path, { body: { metadata: { name }, spec: { ports, ...spec } } });
  const patch = (name: string, spec: object) =>
    server.call<Service>('PATCH', `${path}/${name}`, { body: { spec }, contentType: 'application/merge-patch+json' });
  const addresses = ({ spec }: Service) => spec?.clusterIPs ?? [];

  it('have ranges of both in the cluster’s own object', async () => {
    const { body } = await server.call<ServiceCIDR>('GET', '/apis/networking.k8s.io/v1/servicecidrs/kubernetes');
    assert.deepEqual(body.spec.cidrs, ['10.96.0.0/24', 'fd00:10:96::/112']);
    const own = await server.call<Service>('GET', `${path}/kubernetes`);
    assert.deepEqual([own.body.spec?.clusterIPs, own.body.spec?.ipFamilies], [['10.96.0.1'], ['IPv4']]);
  });

  it('get one address or two, as they ask', async () => {
    const plain = await create('plain', {});
    assert.equal(plain.status, 201, plain.text);
    assert.ok(addresses(plain.body).length === 1 && isIPv4(addresses(plain.body)[0] ?? ''));
    const six = await create('six', { ipFamilies: ['IPv6'] });
    assert.ok(addresses(six.body).length === 1 && isIPv6(six.body.spec?.clusterIP ?? ''), six.text);
    const both = await create('both', { ipFamilyPolicy: 'PreferDualStack' });
    const [first = '', second = ''] = addresses(both.body);
    assert.ok(isIPv4(first) && isIPv6(second), both.text);
    assert.deepEqual(both.body.spec?.ipFamilies, ['IPv4', 'IPv6']);
    for (const address of [first, second]) {
      const known = async () => (await server.call('GET', `/apis/networking.k8s.io/v1/ipaddresses/${address}`)).status;
      await eventually(`an IPAddress ${address}`, async () => (await known()) === 200);
    }
  });

  it('take addresses of their choice in either range, and none twice', async () => {
    const chosen = await create('chosen', { clusterIP: 'fd00:10:96::9' });
    assert.equal(chosen.status, 201, chosen.text);
    assert.deepEqual(chosen.body.spec?.ipFamilies, ['IPv6']);
    const again = await create('again', { clusterIP: 'fd00:10:96::9' });
    assert.equal(again.status, 422);
    assert.match(again.text, /failed to allocate IP fd00:10:96::9: provided IP is already allocated/);
    const outside = await create('outside', { clusterIP: 'fd00:10:97::9' });
    assert.match(outside.text, /the provided network does not match the current range/);
  });

  it('gain and lose the second family, and its address is free again', async () => {
    await create('moving', {});
    const more = await patch('moving', { ipFamilyPolicy: 'RequireDualStack' });
    assert.equal(more.status, 200, more.text);
    const [first, second = ''] = addresses(more.body);
    assert.ok(isIPv6(second));
    const silent = await patch('moving', { clusterIPs: [first] });
    assert.match(silent.text, /must be 'SingleStack' to release the secondary cluster IP/);
    const fewer = await patch('moving', { ipFamilyPolicy: 'SingleStack' });
    assert.deepEqual([fewer.status, addresses(fewer.body)], [200, [first]]);
    const taken = await create('successor', { clusterIP: second });
    assert.equal(taken.status, 201, taken.text);
    const primary = await patch('moving', { clusterIP: '10.96.0.77', clusterIPs: ['10.96.0.77'] });
    assert.equal(primary.status, 422);
    assert.match(primary.text, /may not change once set/);
  });
});
