// The official JavaScript client: its verbs and its informers against this server, also when connections are cut.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  AppsV1Api,
  CoreV1Api,
  KubeConfig,
  type KubernetesListObject,
  type KubernetesObject,
  makeInformer,
  PatchStrategy,
  setHeaderOptions,
} from '@kubernetes/client-node';
import { eventually } from '../../support/eventually.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const bounds = { timeout: 60_000 };
const namespace = 'default';
const labelSelector = 'watched=yes';
const labels = { watched: 'yes' };
const base64 = (text: string) => Buffer.from(text).toString('base64');
const spec = { containers: [{ name: 'c', image: 'i' }] };

describe('the official JavaScript client', () => {
  let server: TestServer;
  let relay: TcpRelay;
  const configFor = (port: number) => {
    const config = new KubeConfig();
    const { ca, admin } = server.pki;
    config.loadFromClusterAndUser(
      { name: 'berth', server: `https://127.0.0.1:${port}`, caData: base64(ca.certPem), skipTLSVerify: false },
      { name: 'admin', certData: base64(admin.certPem), keyData: base64(admin.keyPem) },
    );
    return config;
  };
  let core: CoreV1Api;
  before(async () => {
    server = await startApiServer();
    relay = await startTcpRelay('127.0.0.1', server.port);
    core = configFor(server.port).makeApiClient(CoreV1Api);
    await core.createNamespacedServiceAccount({ namespace, body: { metadata: { name: 'default' } } });
  });
  after(async () => {
    await relay?.[Symbol.asyncDispose]();
    await server?.close();
  });

  /** Runs an informer of its own kind and tells what it was told, in order. */
  async function informed<T extends KubernetesObject>(
    port: number,
    path: string,
    list: () => Promise<KubernetesListObject<T>>,
    work: (seen: string[], informer: ReturnType<typeof makeInformer<T>>) => Promise<void>,
  ): Promise<void> {
    const informer = makeInformer(configFor(port), path, list, labelSelector);
    const seen: string[] = [];
    for (const verb of ['add', 'update', 'delete'] as const)
      informer.on(verb, (object: T) => void seen.push(`${verb} ${object.metadata?.name}`));
    let isOver = false;
    // As its own documents say: an informer that met an error is started again.
    informer.on('error', () => {
      if (!isOver) setTimeout(() => isOver || void informer.start().catch(() => undefined), 50);
    });
    try {
      await informer.start();
      await work(seen, informer);
    } finally {
      isOver = true;
      await informer.stop();
    }
  }
  const until = (seen: readonly string[], expected: string) =>
    eventually(expected, async () => seen.includes(expected), 20_000);

  it('lists, creates, reads, patches and applies', bounds, async () => {
    const created = await core.createNamespacedConfigMap({
      namespace,
      body: { metadata: { name: 'a' }, data: { k: '1' } },
    });
    assert.ok(created.metadata?.creationTimestamp instanceof Date);
    const key = { namespace, name: 'a' };
    const merged = await core.patchNamespacedConfigMap(
      { ...key, body: { data: { l: '2' } } },
      setHeaderOptions('Content-Type', PatchStrategy.MergePatch),
    );
    assert.deepEqual(merged.data, { k: '1', l: '2' });
    const operations = [{ op: 'replace', path: '/data/k', value: '3' }];
    const patched = await core.patchNamespacedConfigMap(
      { ...key, body: operations },
      setHeaderOptions('Content-Type', PatchStrategy.JsonPatch),
    );
    assert.equal(patched.data?.['k'], '3');
    const applied = await core.patchNamespacedConfigMap(
      {
        ...key,
        fieldManager: 'tester',
        body: { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'a' }, data: { m: '4' } },
      },
      setHeaderOptions('Content-Type', PatchStrategy.ServerSideApply),
    );
    assert.deepEqual(applied.data, { k: '3', l: '2', m: '4' });
    assert.ok(
      applied.metadata?.managedFields?.some(({ manager, operation }) => manager === 'tester' && operation === 'Apply'),
    );
    const replaced = await core.replaceNamespacedConfigMap({ ...key, body: { ...applied, data: { only: 'this' } } });
    assert.deepEqual((await core.readNamespacedConfigMap(key)).data, replaced.data);
    const { items } = await core.listNamespacedConfigMap({ namespace, fieldSelector: 'metadata.name=a' });
    assert.equal(items.length, 1);
    const stale = core.replaceNamespacedConfigMap({ ...key, body: { ...applied, data: {} } });
    await assert.rejects(stale, { code: 409 });
    await core.deleteNamespacedConfigMap(key);
    await assert.rejects(core.readNamespacedConfigMap(key), { code: 404 });
    const apps = configFor(server.port).makeApiClient(AppsV1Api);
    const selector = { matchLabels: { app: 'web' } };
    const template = { metadata: { labels: { app: 'web' } }, spec };
    await apps.createNamespacedDeployment({
      namespace,
      body: { metadata: { name: 'web' }, spec: { selector, template } },
    });
    const scale = await apps.readNamespacedDeploymentScale({ namespace, name: 'web' });
    const body = { ...scale, spec: { replicas: 3 } };
    assert.equal((await apps.replaceNamespacedDeploymentScale({ namespace, name: 'web', body })).spec?.replicas, 3);
  });

  it('is informed of config maps that it selects', bounds, async () => {
    const list = () => core.listNamespacedConfigMap({ namespace, labelSelector });
    await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'before', labels } } });
    await informed(server.port, `/api/v1/namespaces/${namespace}/configmaps`, list, async (seen, informer) => {
      await until(seen, 'add before');
      await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'not-selected' } } });
      await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: 'new', labels } } });
      await until(seen, 'add new');
      const key = { namespace, name: 'new' };
      await core.replaceNamespacedConfigMap({ ...key, body: { metadata: { name: 'new', labels }, data: { a: 'b' } } });
      await until(seen, 'update new');
      await core.deleteNamespacedConfigMap(key);
      await until(seen, 'delete new');
      // Leaving the selection is a deletion to who watches it.
      await core.replaceNamespacedConfigMap({ namespace, name: 'before', body: { metadata: { name: 'before' } } });
      await until(seen, 'delete before');
      assert.deepEqual(seen, ['add before', 'add new', 'update new', 'delete new', 'delete before']);
      assert.deepEqual(informer.list(), []);
    });
  });

  it('is informed of pods across cut connections and a restart of the server', bounds, async () => {
    const pods = configFor(relay.port).makeApiClient(CoreV1Api);
    const list = () => pods.listNamespacedPod({ namespace, labelSelector });
    const create = (name: string) =>
      core.createNamespacedPod({ namespace, body: { metadata: { name, labels }, spec } });
    await informed(relay.port, `/api/v1/namespaces/${namespace}/pods`, list, async (seen, informer) => {
      await create('first');
      await until(seen, 'add first');
      await server.restart();
      await create('second');
      await until(seen, 'add second');
      await server.restart();
      await server.compact();
      await core.deleteNamespacedPod({ namespace, name: 'first', gracePeriodSeconds: 0 });
      await create('third');
      await until(seen, 'add third');
      await until(seen, 'delete first');
      const { items } = await core.listNamespacedPod({ namespace, labelSelector });
      const revisions = (objects: readonly KubernetesObject[]) =>
        objects.map(({ metadata }) => `${metadata?.name} ${metadata?.resourceVersion}`).sort();
      assert.deepEqual(revisions(informer.list()), revisions(items));
      assert.equal(seen.filter((line) => line === 'add second').length, 1);
    });
  });
});
