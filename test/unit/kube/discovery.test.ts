import assert from 'node:assert/strict';
import { test } from 'node:test';
import { discoverResources } from '#kube/client/discovery.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { fakeApiClient } from '../../support/fake-api-client.ts';

function serving(documents: Record<string, unknown>): ApiClient {
  const raw = async ({ path }: { path: string }) => {
    if (!(path in documents)) throw new Error(`503 ${path}`);
    return documents[path];
  };
  return fakeApiClient({ raw: raw as ApiClient['raw'] });
}

const pods = {
  group: '',
  version: 'v1',
  plural: 'pods',
  singular: 'pod',
  kind: 'Pod',
  namespaced: true,
  verbs: ['list'],
};
const nodes = {
  group: '',
  version: 'v1',
  plural: 'nodes',
  singular: 'node',
  kind: 'Node',
  namespaced: false,
  verbs: ['get'],
};
const jobs = {
  group: 'batch',
  version: 'v1',
  plural: 'jobs',
  singular: 'job',
  kind: 'Job',
  namespaced: true,
  verbs: ['list'],
};

function aggregated(group: string, ...resources: (typeof pods)[]) {
  const listed = resources.map(({ plural, singular, kind, namespaced, verbs }) => {
    const scope = namespaced ? 'Namespaced' : 'Cluster';
    return { resource: plural, singularResource: singular, scope, verbs, responseKind: { kind } };
  });
  return {
    kind: 'APIGroupDiscoveryList',
    items: [{ metadata: { name: group }, versions: [{ version: 'v1', resources: listed }] }],
  };
}

test('reads aggregated discovery in two documents', async () => {
  const client = serving({ '/api': aggregated('', pods, nodes), '/apis': aggregated('batch', jobs) });
  assert.deepEqual(await discoverResources(client), { resources: [pods, nodes, jobs], failures: [] });
});

function listed(...resources: (typeof pods)[]) {
  return {
    resources: resources.flatMap(({ plural, singular, kind, namespaced, verbs }) => [
      { name: plural, singularName: singular, kind, namespaced, verbs },
      { name: `${plural}/status`, singularName: '', kind, namespaced, verbs },
    ]),
  };
}

test('reads one document for each group where the server has no others, without subresources', async () => {
  const groups = [{ name: 'batch', versions: [], preferredVersion: { groupVersion: 'batch/v1', version: 'v1' } }];
  const client = serving({
    '/api': { kind: 'APIVersions' },
    '/apis': { kind: 'APIGroupList', groups },
    '/api/v1': listed(pods, nodes),
    '/apis/batch/v1': listed(jobs),
  });
  assert.deepEqual(await discoverResources(client), { resources: [pods, nodes, jobs], failures: [] });
});

test('names the group versions that cannot be read', async () => {
  const groups = [{ name: 'metrics', versions: [{ groupVersion: 'metrics/v1', version: 'v1' }] }];
  const client = serving({ '/api': {}, '/apis': { groups }, '/api/v1': listed(pods) });
  const { resources, failures } = await discoverResources(client);
  assert.deepEqual([resources, failures.map(({ groupVersion }) => groupVersion)], [[pods], ['metrics/v1']]);
});
