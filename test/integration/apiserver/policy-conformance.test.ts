// What upstream's conformance suite checks of admission policies: their API.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { type Answer, startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  metadata: {
    name: string;
    resourceVersion: string;
    annotations?: Record<string, string>;
    labels?: Record<string, string>;
  };
  items: Thing[];
  groups: { name: string; versions: { groupVersion: string }[] }[];
  resources: { name: string; verbs: string[] }[];
  status?: { conditions?: { message: string }[] };
  spec: { replicas?: number };
}

const group = '/apis/admissionregistration.k8s.io/v1';
const matchConstraints = {
  resourceRules: [
    { apiGroups: ['apps'], apiVersions: ['v1'], operations: ['CREATE', 'UPDATE'], resources: ['deployments'] },
  ],
};
const mutation = (expression: string) => ({ patchType: 'ApplyConfiguration', applyConfiguration: { expression } });
const validatingSpec = { matchConstraints, validations: [{ expression: 'object.spec.replicas <= 100' }] };
const mutatingSpec = {
  matchConstraints,
  reinvocationPolicy: 'Never',
  mutations: [mutation('Object{spec: Object.spec{replicas: 3}}')],
};

describe('admission policies, as upstream tries them', () => {
  let server: TestServer;
  const call = (method: string, path: string, body?: unknown, contentType?: string): Promise<Answer<Thing>> =>
    server.call<Thing>(method, path, { body, ...(contentType === undefined ? {} : { contentType }) });
  const merge = 'application/merge-patch+json';

  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  const apis: [string, string, object, boolean][] = [
    [
      'ValidatingAdmissionPolicy should support ValidatingAdmissionPolicy API operations',
      'validatingadmissionpolicies',
      validatingSpec,
      true,
    ],
    [
      'ValidatingAdmissionPolicy should support ValidatingAdmissionPolicyBinding API operations',
      'validatingadmissionpolicybindings',
      { policyName: 'none', validationActions: ['Deny'] },
      false,
    ],
    [
      'MutatingAdmissionPolicy should support MutatingAdmissionPolicy API operations',
      'mutatingadmissionpolicies',
      mutatingSpec,
      false,
    ],
    [
      'MutatingAdmissionPolicy should support MutatingAdmissionPolicyBinding API operations',
      'mutatingadmissionpolicybindings',
      { policyName: 'none' },
      false,
    ],
  ];
  for (const [name, plural, spec, hasStatus] of apis) {
    it(name, async () => {
      const found = (await call('GET', '/apis')).body.groups.find(
        (each) => each.name === 'admissionregistration.k8s.io',
      );
      assert.ok(found?.versions.some(({ groupVersion }) => groupVersion === 'admissionregistration.k8s.io/v1'));
      const entry = (await call('GET', group)).body.resources.find((each) => each.name === plural);
      for (const verb of ['create', 'get', 'list', 'watch', 'update', 'patch', 'delete', 'deletecollection'])
        assert.ok(entry?.verbs.includes(verb));
      const path = `${group}/${plural}`;
      const labels = { api: 'yes' };
      const selector = 'labelSelector=api%3Dyes';
      const lines = server.stream(`${path}?watch=true&${selector}&timeoutSeconds=20`, (line) =>
        line.includes('"DELETED"'),
      );
      for (const each of ['a', 'b', 'c']) {
        const created = await call('POST', path, { metadata: { name: `api-${each}`, labels }, spec });
        assert.equal(created.status, 201, created.text);
      }
      const read = await call('GET', `${path}/api-a`);
      assert.equal(read.body.metadata.name, 'api-a');
      assert.equal((await call('GET', `${path}?${selector}`)).body.items.length, 3);
      const patched = await call('PATCH', `${path}/api-a`, { metadata: { annotations: { patched: 'true' } } }, merge);
      assert.equal(patched.body.metadata.annotations?.['patched'], 'true');
      const { body } = await call('GET', `${path}/api-a`);
      const annotated = {
        ...body,
        metadata: { ...body.metadata, annotations: { ...body.metadata.annotations, updated: 'true' } },
      };
      const updated = await call('PUT', `${path}/api-a`, annotated);
      assert.deepEqual(
        [updated.status, updated.body.metadata.annotations],
        [200, { patched: 'true', updated: 'true' }],
      );
      if (hasStatus) {
        const condition = {
          type: 'Test',
          status: 'True',
          reason: 'Test',
          message: 'patched',
          lastTransitionTime: '2026-01-01T00:00:00Z',
        };
        const status = await call('PATCH', `${path}/api-a/status`, { status: { conditions: [condition] } }, merge);
        assert.equal(status.body.status?.conditions?.[0]?.message, 'patched');
        assert.equal((await call('GET', `${path}/api-a/status`)).body.status?.conditions?.[0]?.message, 'patched');
      }
      assert.equal((await call('DELETE', `${path}/api-a`)).status, 200);
      assert.equal((await call('GET', `${path}/api-a`)).status, 404);
      const types = (await lines)
        .filter((line) => line !== '')
        .map((line) => (JSON.parse(line) as { type: string }).type);
      assert.ok(types.includes('ADDED') && types.includes('MODIFIED') && types.includes('DELETED'));
      assert.equal((await call('DELETE', `${path}?${selector}`)).status, 200);
      assert.equal((await call('GET', `${path}?${selector}`)).body.items.length, 0);
    });
  }
});
