// Discovery, Tables, OpenAPI and the small endpoints, as clients see them.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

const read = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../data/discovery/${name}.json`, import.meta.url), 'utf8')) as T;

interface Resources {
  groupVersion: string;
  resources: object[];
}

interface Aggregated {
  kind: string;
  items: {
    metadata: { name?: string };
    versions: { version: string; resources: { resource: string; subresources?: { subresource: string }[] }[] }[];
  }[];
}

interface OpenApi {
  paths: Record<
    string,
    Record<string, { parameters?: { name: string }[]; 'x-kubernetes-group-version-kind'?: { kind: string } }>
  >;
  components: { schemas: Record<string, { properties?: Record<string, unknown> }> };
}

describe('what the server says about itself', () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server.close());

  it('lists groups and resources exactly as the reference, and the metrics API', async () => {
    const { body: found } = await server.call<{ groups: { name: string }[] }>('GET', '/apis');
    const groups = found.groups.filter(({ name }) => name !== 'metrics.k8s.io');
    assert.deepEqual({ ...found, groups }, read('apis'));
    assert.equal(found.groups.at(-1)?.name, 'metrics.k8s.io');
    for (const [groupVersion, resources] of Object.entries(read<Record<string, object[]>>('resources'))) {
      const path = groupVersion === 'v1' ? '/api/v1' : `/apis/${groupVersion}`;
      const { body } = await server.call<Resources>('GET', path);
      assert.equal(body.groupVersion, groupVersion);
      assert.deepEqual(body.resources, resources);
    }
  });

  it('gives all of it in two documents to clients that ask for the aggregated form', async () => {
    const accept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json';
    const core = await server.call<Aggregated>('GET', '/api', { headers: { accept } });
    assert.equal(core.body.kind, 'APIGroupDiscoveryList');
    const pods = core.body.items[0]?.versions[0]?.resources.find(({ resource }) => resource === 'pods');
    assert.ok(pods?.subresources?.some(({ subresource }) => subresource === 'exec'));
    const named = await server.call<Aggregated>('GET', '/apis', { headers: { accept } });
    assert.ok(named.body.items.some(({ metadata }) => metadata.name === 'apps'));
  });

  it('prints a Table when asked for one', async () => {
    const headers = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };
    const { body } = await server.call<{
      kind: string;
      columnDefinitions: { name: string }[];
      rows: { cells: unknown[]; object: { kind: string } }[];
    }>('GET', '/api/v1/namespaces', { headers });
    assert.equal(body.kind, 'Table');
    assert.deepEqual(
      body.columnDefinitions.map(({ name }) => name),
      ['Name', 'Status', 'Age'],
    );
    assert.deepEqual(body.rows[0]?.cells.slice(0, 2), ['default', 'Active']);
    assert.equal(body.rows[0]?.object.kind, 'PartialObjectMetadata');
  });

  it('answers metadata alone when asked for it', async () => {
    const headers = { accept: 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1' };
    const { body } = await server.call<{ kind: string; items: object[] }>('GET', '/api/v1/namespaces', { headers });
    assert.equal(body.kind, 'PartialObjectMetadataList');
    assert.deepEqual(Object.keys(body.items[0] ?? {}).sort(), ['apiVersion', 'kind', 'metadata']);
  });

  it('answers 406 to a media type it does not have', async () => {
    const answer = await server.call('GET', '/api/v1/namespaces', { headers: { accept: 'text/html' } });
    assert.equal(answer.status, 406);
  });

  it('answers 406 when a review is asked for as a Table', async () => {
    const answer = await server.call('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
      body: { spec: { resourceAttributes: { verb: 'get', resource: 'pods' } } },
      headers: { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' },
    });
    assert.equal(answer.status, 406);
  });

  it('describes types and parameters in OpenAPI v3', async () => {
    const { body } = await server.call<{ paths: Record<string, { serverRelativeURL: string }> }>('GET', '/openapi/v3');
    const url = body.paths['apis/apps/v1']?.serverRelativeURL ?? '';
    const document = (await server.call<OpenApi>('GET', url)).body;
    const patch = document.paths['/apis/apps/v1/namespaces/{namespace}/deployments/{name}']?.['patch'];
    assert.ok(patch?.parameters?.some(({ name }) => name === 'fieldValidation'));
    assert.equal(patch?.['x-kubernetes-group-version-kind']?.kind, 'Deployment');
    assert.ok(document.components.schemas['io.k8s.api.core.v1.PodSpec']?.properties?.['containers']);
  });

  it('tells its version and health, check by check', async () => {
    const version = await server.call<{ gitVersion: string }>('GET', '/version');
    assert.match(version.body.gitVersion, /^v1\.36\.\d+\+berth$/);
    assert.equal((await server.call('GET', '/readyz')).text, 'ok');
    assert.match((await server.call('GET', '/livez?verbose')).text, /^\[\+\]ping ok\n[\s\S]*livez check passed\n$/);
  });

  it('counts its requests', async () => {
    const { text } = await server.call('GET', '/metrics');
    assert.match(text, /apiserver_request_total\{verb="LIST",group="",version="v1",resource="namespaces"/);
    assert.match(text, /apiserver_storage_objects\{resource="namespaces"\} 4/);
  });

  it('holds from the start what every cluster holds', async () => {
    const roles = await server.call<{ items: object[] }>('GET', '/apis/rbac.authorization.k8s.io/v1/clusterroles');
    // Beside those of the reference: who reads metrics of nodes and pods, and what makes the network of pods.
    assert.equal(roles.body.items.length, 72);
    const service = await server.call<{ spec: { clusterIP: string } }>(
      'GET',
      '/api/v1/namespaces/default/services/kubernetes',
    );
    assert.equal(service.body.spec.clusterIP, '10.96.0.1');
    const slice = await server.call<{ endpoints: { addresses: string[] }[] }>(
      'GET',
      '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes',
    );
    assert.deepEqual(slice.body.endpoints[0]?.addresses, ['192.0.2.2']);
  });
});
