// What conformance asks of every kind of workload alike: status subresource, scale, and collections.
import assert from 'node:assert/strict';
import type { Scale } from '#kube/api/generated/autoscaling-v1.ts';
import type { Draft, KubeObject, Resource } from '#kube/api/resource.ts';
import { resourcePath } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { eventually } from './eventually.ts';

interface WithConditions {
  status?: { conditions?: { type: string; status: string; reason?: string; message?: string }[] };
}

const namespace = 'default';
const test = (type: string) => ({ type, status: 'True', reason: 'E2E', message: `Set by a test: ${type}` });

/** Reads, patches and replaces the status of an object; what was written is read again. Controllers may keep changing it. */
export async function checkStatusEndpoint<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  name: string,
  hasConditions = true,
): Promise<void> {
  const key = { namespace, name };
  const path = resourcePath(resource, { ...key, subresource: 'status' });
  const read = await client.raw<T>({ method: 'GET', path });
  assert.equal(read.metadata.name, name);
  const patch = {
    metadata: { annotations: { patchedstatus: 'true' } },
    ...(hasConditions ? { status: { conditions: [test('StatusPatched')] } } : {}),
  };
  const patched = await client.patch(resource, key, 'merge', patch, { subresource: 'status' });
  if (hasConditions) {
    const { conditions = [] } = (patched as WithConditions).status ?? {};
    assert.ok(conditions.some(({ type }) => type === 'StatusPatched'));
    await eventually('the status is replaced', async () => {
      const current = await client.get(resource, key);
      const { status } = current as WithConditions;
      const next = { ...status, conditions: [...(status?.conditions ?? []), test('StatusUpdate')] };
      const replaced = await client.updateSubresource(resource, { ...current, status: next }, 'status');
      return ((replaced as WithConditions).status?.conditions ?? []).some(({ type }) => type === 'StatusUpdate');
    });
  }
}

/** Reads, replaces and patches the scale. */
export async function checkScale(client: ApiClient, resource: Resource, name: string, from: number): Promise<void> {
  const key = { namespace, name };
  const path = resourcePath(resource, { ...key, subresource: 'scale' });
  const sizeOf = async () =>
    (await client.raw<{ spec: { replicas: number } }>({ method: 'GET', path: resourcePath(resource, key) })).spec
      .replicas;
  const scale = await client.raw<Scale>({ method: 'GET', path });
  assert.equal(scale.spec?.replicas, from);
  const updated = await client.updateScale(resource, key, {
    ...scale,
    metadata: { ...scale.metadata, resourceVersion: undefined },
    spec: { replicas: from + 1 },
  });
  assert.equal(updated.spec?.replicas, from + 1);
  assert.equal(await sizeOf(), from + 1);
  const patch = { spec: { replicas: from + 3 } };
  await client.patch(resource, key, 'merge', patch, { subresource: 'scale' });
  assert.equal(await sizeOf(), from + 3);
}

/** Creates three, finds them by label everywhere, patches one, and deletes them together. */
export async function checkCollection<T extends KubeObject>(
  client: ApiClient,
  resource: Resource<T>,
  draft: (name: string) => Draft<T>,
): Promise<void> {
  const names = ['one', 'two', 'three'].map((each) => `${resource.singular}-${each}`);
  const label = `collection=${resource.singular}`;
  for (const name of names) {
    const { metadata, ...rest } = draft(name);
    const labels = { ...metadata.labels, collection: resource.singular };
    await client.create(resource, namespace, { ...rest, metadata: { ...metadata, labels } } as unknown as Draft<T>);
  }
  const everywhere = await client.list(resource, { labelSelector: label });
  assert.deepEqual(everywhere.items.map(({ metadata }) => metadata.name).sort(), [...names].sort());
  const key = { namespace, name: names[0] ?? '' };
  const patched = await client.patch(resource, key, 'merge', { metadata: { labels: { patched: 'yes' } } });
  assert.equal(patched.metadata.labels?.['patched'], 'yes');
  await client.deleteCollection(resource, { namespace, labelSelector: label }, { propagationPolicy: 'Background' });
  await eventually('all of them are gone', async () => {
    const { items } = await client.list(resource, { namespace, labelSelector: label });
    return items.length === 0;
  });
}
