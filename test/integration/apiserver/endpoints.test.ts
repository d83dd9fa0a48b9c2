// Endpoints that users write themselves: their life at the API, and the slices that mirror them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { endpoints, endpointslices, namespaces, services } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const bounds = { timeout: 120_000 };
const ports = [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }];

describe('endpoints of users', bounds, () => {
  let plane: TestControlPlane;
  before(async () => {
    plane = await startControlPlane();
  });
  after(() => plane?.stop());
  const createNamespace = async (): Promise<string> => {
    const name = `test-${randomBytes(4).toString('hex')}`;
    await plane.client.create(namespaces, undefined, { metadata: { name }, spec: {} });
    return name;
  };

  it(
    'EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete',
    bounds,
    async () => {
      const namespace = await createNamespace();
      await plane.client.create(services, namespace, { metadata: { name: 'own' }, spec: { ports } });
      const subsets = (ip: string) => [{ addresses: [{ ip }], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] }];
      const mirrored = (what: string, expected: readonly string[]) =>
        eventually(what, async () => {
          const labelSelector = 'kubernetes.io/service-name=own';
          const { items } = await plane.client.list(endpointslices, { namespace, labelSelector });
          const found = items.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses));
          return `${found}` === `${expected}`;
        });
      const created = await plane.client.create(endpoints, namespace, {
        metadata: { name: 'own' },
        subsets: subsets('192.0.2.1'),
      });
      await mirrored('the first address', ['192.0.2.1']);
      await plane.client.update(endpoints, { ...created, subsets: subsets('192.0.2.2') });
      await mirrored('the second address', ['192.0.2.2']);
      await plane.client.delete(endpoints, { namespace, name: 'own' });
      await mirrored('nothing', []);
    },
  );

  it('Endpoints should test the lifecycle of an Endpoint', bounds, async () => {
    const namespace = await createNamespace();
    const key = { namespace, name: 'own' };
    const subsets = (ip: string, port: number) => [
      { addresses: [{ ip }], ports: [{ name: 'http', port, protocol: 'TCP' }] },
    ];
    const labels = { 'test-endpoint-static': 'true' };
    const created = await plane.client.create(endpoints, namespace, {
      metadata: { name: 'own', labels },
      subsets: subsets('192.0.2.1', 80),
    });
    const all = await plane.client.list(endpoints, { labelSelector: 'test-endpoint-static=true' });
    assert.deepEqual(
      all.items.map(({ metadata }) => metadata.uid),
      [created.metadata.uid],
    );
    await plane.client.update(endpoints, {
      ...created,
      metadata: { ...created.metadata, labels: { ...labels, own: 'updated' } },
    });
    assert.equal((await plane.client.get(endpoints, key)).metadata.labels?.['own'], 'updated');
    await plane.client.patch(endpoints, key, 'strategic', { subsets: subsets('192.0.2.2', 8080) });
    assert.deepEqual((await plane.client.get(endpoints, key)).subsets, subsets('192.0.2.2', 8080));
    const { metadata } = await plane.client.list(endpoints, { namespace });
    const signal = AbortSignal.timeout(30_000);
    const watch = plane.client.watch(endpoints, { namespace, resourceVersion: metadata.resourceVersion, signal });
    await plane.client.deleteCollection(endpoints, { namespace, labelSelector: 'test-endpoint-static=true' });
    for await (const event of watch) if (event.type === 'DELETED' && event.object.metadata.name === 'own') break;
    await assert.rejects(plane.client.get(endpoints, key), { code: 'NotFound' });
  });
});
