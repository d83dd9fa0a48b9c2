// Config maps and secrets as files, mounted alone and as parts of projected volumes.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { KeyToPath, PodSpec, Volume } from '#kube/api/generated/core-v1.ts';
import { configmaps, secrets } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

type Data = Record<string, string>;
type Fields = { items?: KeyToPath[]; defaultMode?: number; optional?: boolean };

/** One way to get an object into a volume. */
interface Source {
  write(namespace: string, name: string, data: Data): Promise<unknown>;
  remove(namespace: string, name: string): Promise<unknown>;
  volume(object: string, fields?: Fields): Omit<Volume, 'name'>;
}

type SourceName = 'configMap' | 'secret' | 'projectedConfigMap' | 'projectedSecret';

/** What a case does with a source; its names are those of the behaviours it proves, by source. */
interface Case {
  names: Partial<Record<SourceName, string>>;
  run(source: Source, namespace: string): Promise<void>;
}

const data: Data = { 'data-1': 'value-1', 'data-2': 'value-2', 'data-3': 'value-3' };
const mapped = (mode?: number): KeyToPath[] => [
  { key: 'data-2', path: 'path/to/data-2', ...(mode === undefined ? {} : { mode }) },
];
const nonRoot = { runAsUser: 1000 };

describe('volumes from config maps and secrets', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  const writeConfigMap = (namespace: string, name: string, content: Data) =>
    node.client.patch(
      configmaps,
      { namespace, name },
      'apply',
      { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: content },
      { fieldManager: 'test', force: true },
    );
  const writeSecret = (namespace: string, name: string, content: Data) => {
    const encoded = Object.entries(content).map(([key, value]) => [key, Buffer.from(value).toString('base64')]);
    const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name }, data: Object.fromEntries(encoded) };
    return node.client.patch(secrets, { namespace, name }, 'apply', secret, { fieldManager: 'test', force: true });
  };
  const fromConfigMaps = {
    write: writeConfigMap,
    remove: (namespace: string, name: string) => node.client.delete(configmaps, { namespace, name }),
  };
  const fromSecrets = {
    write: writeSecret,
    remove: (namespace: string, name: string) => node.client.delete(secrets, { namespace, name }),
  };
  const projected = (source: object, defaultMode?: number) => ({
    projected: { sources: [source], ...(defaultMode === undefined ? {} : { defaultMode }) },
  });
  const sources: Record<SourceName, Source> = {
    configMap: { ...fromConfigMaps, volume: (name, fields) => ({ configMap: { name, ...fields } }) },
    secret: { ...fromSecrets, volume: (secretName, fields) => ({ secret: { secretName, ...fields } }) },
    projectedConfigMap: {
      ...fromConfigMaps,
      volume: (name, { defaultMode, ...rest } = {}) => projected({ configMap: { name, ...rest } }, defaultMode),
    },
    projectedSecret: {
      ...fromSecrets,
      volume: (name, { defaultMode, ...rest } = {}) => projected({ secret: { name, ...rest } }, defaultMode),
    },
  };

  /** Mounts one volume at /v and answers what the script prints. */
  async function read(
    source: Source,
    namespace: string,
    text: string,
    fields: Fields = {},
    security: PodSpec['securityContext'] = {},
  ): Promise<string> {
    await source.write(namespace, 'object', data);
    return node.output(namespace, {
      spec: {
        securityContext: security,
        volumes: [{ name: 'v', ...source.volume('object', fields) }],
        containers: [script(text, { volumeMounts: [{ name: 'v', mountPath: '/v', readOnly: true }] })],
      },
    });
  }
  const show = (path: string) => `stat -L -c %a ${path}; cat ${path}`;

  const cases: Case[] = [
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume',
        secret: 'Secrets should be consumable from pods in volume',
        projectedConfigMap: 'Projected configMap should be consumable from pods in volume',
        projectedSecret: 'Projected secret should be consumable from pods in volume',
      },
      run: async (source, namespace) => {
        const text = `${show('/v/data-1')}; echo; ls -m /v 2>/dev/null || ls /v`;
        assert.match(await read(source, namespace, text), /^644\nvalue-1\ndata-1\s*,?\s*data-2\s*,?\s*data-3/);
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume with defaultMode set',
        secret: 'Secrets should be consumable from pods in volume with defaultMode set',
        projectedConfigMap: 'Projected configMap should be consumable from pods in volume with defaultMode set',
        projectedSecret: 'Projected secret should be consumable from pods in volume with defaultMode set',
      },
      run: async (source, namespace) => {
        assert.equal(await read(source, namespace, show('/v/data-1'), { defaultMode: 0o400 }), '400\nvalue-1');
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume as non-root',
        projectedConfigMap: 'Projected configMap should be consumable from pods in volume as non-root',
      },
      run: async (source, namespace) => {
        assert.equal(await read(source, namespace, `id -u; ${show('/v/data-1')}`, {}, nonRoot), '1000\n644\nvalue-1');
      },
    },
    {
      names: {
        secret: 'Secrets should be consumable from pods in volume as non-root with defaultMode and fsGroup set',
        projectedSecret:
          'Projected secret should be consumable from pods in volume as non-root with defaultMode and fsGroup set',
      },
      run: async (source, namespace) => {
        const text = `stat -L -c %a:%g /v/data-1; cat /v/data-1`;
        const security = { runAsUser: 1000, fsGroup: 1001 };
        assert.equal(await read(source, namespace, text, { defaultMode: 0o440 }, security), '440:1001\nvalue-1');
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume with mappings',
        secret: 'Secrets should be consumable from pods in volume with mappings',
        projectedConfigMap: 'Projected configMap should be consumable from pods in volume with mappings',
        projectedSecret: 'Projected secret should be consumable from pods in volume with mappings',
      },
      run: async (source, namespace) => {
        const text = `${show('/v/path/to/data-2')}; test ! -e /v/data-1 && test ! -e /v/data-2`;
        assert.equal(await read(source, namespace, text, { items: mapped() }), '644\nvalue-2');
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume with mappings and Item mode set',
        secret: 'Secrets should be consumable from pods in volume with mappings and Item Mode set',
        projectedConfigMap:
          'Projected configMap should be consumable from pods in volume with mappings and Item mode set',
        projectedSecret: 'Projected secret should be consumable from pods in volume with mappings and Item Mode set',
      },
      run: async (source, namespace) => {
        const fields = { items: mapped(0o400) };
        assert.equal(await read(source, namespace, show('/v/path/to/data-2'), fields), '400\nvalue-2');
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable from pods in volume with mappings as non-root',
        projectedConfigMap: 'Projected configMap should be consumable from pods in volume with mappings as non-root',
      },
      run: async (source, namespace) => {
        const fields = { items: mapped() };
        assert.equal(await read(source, namespace, show('/v/path/to/data-2'), fields, nonRoot), '644\nvalue-2');
      },
    },
    {
      names: {
        configMap: 'ConfigMap should be consumable in multiple volumes in the same pod',
        secret: 'Secrets should be consumable in multiple volumes in a pod',
        projectedConfigMap: 'Projected configMap should be consumable in multiple volumes in the same pod',
        projectedSecret: 'Projected secret should be consumable in multiple volumes in a pod',
      },
      run: async (source, namespace) => {
        await source.write(namespace, 'object', data);
        const volumeMounts = ['one', 'two'].map((name) => ({ name, mountPath: `/${name}`, readOnly: true }));
        const text = await node.output(namespace, {
          spec: {
            volumes: ['one', 'two'].map((name) => ({ name, ...source.volume('object') })),
            containers: [script('cat /one/data-1; echo; cat /two/data-1', { volumeMounts })],
          },
        });
        assert.equal(text, 'value-1\nvalue-1');
      },
    },
    {
      names: {
        configMap: 'ConfigMap updates should be reflected in volume',
        projectedConfigMap: 'Projected configMap updates should be reflected in volume',
      },
      run: async (source, namespace) => {
        await source.write(namespace, 'object', { 'data-1': 'value-1' });
        const { metadata } = await node.createPod(namespace, {
          spec: {
            restartPolicy: 'Never',
            volumes: [{ name: 'v', ...source.volume('object') }],
            containers: [
              script('cat /v/data-1; echo; until [ "$(cat /v/data-1)" = value-2 ]; do sleep 0.2; done; cat /v/data-1', {
                volumeMounts: [{ name: 'v', mountPath: '/v' }],
              }),
            ],
          },
        });
        const name = metadata.name ?? '';
        await eventually('the first value', async () => (await node.logs(namespace, name)) === 'value-1\n');
        await source.write(namespace, 'object', { 'data-1': 'value-2' });
        assert.equal((await node.waitEnded(namespace, name)).status?.phase, 'Succeeded');
        assert.equal(await node.logs(namespace, name), 'value-1\nvalue-2');
      },
    },
    {
      names: {
        configMap: 'ConfigMap optional updates should be reflected in volume',
        secret: 'Secrets optional updates should be reflected in volume',
        projectedConfigMap: 'Projected configMap optional updates should be reflected in volume',
        projectedSecret: 'Projected secret optional updates should be reflected in volume',
      },
      run: async (source, namespace) => {
        await source.write(namespace, 'deleted', { 'data-1': 'value-1' });
        await source.write(namespace, 'updated', { 'data-1': 'value-1' });
        const names = ['deleted', 'updated', 'created'];
        const text = `
          test -e /created/data-1 && exit 1
          cat /deleted/data-1 /updated/data-1; echo
          while [ -e /deleted/data-1 ]; do sleep 0.2; done
          until [ "$(cat /updated/data-3 2>/dev/null)" = value-3 ]; do sleep 0.2; done
          test -e /updated/data-1 && exit 1
          until [ "$(cat /created/data-1 2>/dev/null)" = value-1 ]; do sleep 0.2; done`;
        const { metadata } = await node.createPod(namespace, {
          spec: {
            restartPolicy: 'Never',
            volumes: names.map((name) => ({ name, ...source.volume(name, { optional: true }) })),
            containers: [script(text, { volumeMounts: names.map((name) => ({ name, mountPath: `/${name}` })) })],
          },
        });
        const name = metadata.name ?? '';
        await eventually('the first values', async () => (await node.logs(namespace, name)) === 'value-1value-1\n');
        await source.remove(namespace, 'deleted');
        await source.write(namespace, 'updated', { 'data-3': 'value-3' });
        await source.write(namespace, 'created', { 'data-1': 'value-1' });
        assert.equal((await node.waitEnded(namespace, name)).status?.phase, 'Succeeded');
      },
    },
  ];

  for (const { names, run } of cases) {
    for (const [source, name] of Object.entries(names)) {
      it(name, async () => run(sources[source as SourceName], await node.namespace()));
    }
  }

  it('ConfigMap binary data should be reflected in volume', async () => {
    const namespace = await node.namespace();
    const bytes = Buffer.from([0xde, 0xca, 0xfe, 0xba, 0xd0, 0xfe, 0xff]);
    await node.client.create(configmaps, namespace, {
      metadata: { name: 'object' },
      data: { 'data-1': 'value-1' },
      binaryData: { 'dump.bin': bytes.toString('base64') },
    });
    const text = await node.output(namespace, {
      spec: {
        volumes: [{ name: 'v', configMap: { name: 'object' } }],
        containers: [
          script('cat /v/data-1; echo; hexdump -v -e \'1/1 "%02x"\' /v/dump.bin', {
            volumeMounts: [{ name: 'v', mountPath: '/v' }],
          }),
        ],
      },
    });
    assert.equal(text, `value-1\n${bytes.toString('hex')}`);
  });

  it('Secrets should be able to mount in a volume regardless of a different secret existing with same name in different namespace', async () => {
    const other = await node.namespace();
    await writeSecret(other, 'object', { 'data-1': 'of the other namespace' });
    assert.equal(await read(sources.secret, await node.namespace(), show('/v/data-1')), '644\nvalue-1');
  });

  for (const [name, resource, write] of [
    ['ConfigMap should be immutable if `immutable` field is set', configmaps, writeConfigMap],
    ['Secrets should be immutable if `immutable` field is set', secrets, writeSecret],
  ] as const) {
    it(name, async () => {
      const namespace = await node.namespace();
      const key = { namespace, name: 'object' };
      const refused = { code: 'Invalid' };
      await write(namespace, 'object', { 'data-1': 'value-1' });
      const patch = (body: object) => node.client.patch(resource, key, 'merge', body);
      const asData = (value: string) => ({ data: { 'data-1': Buffer.from(value).toString('base64') } });
      await patch(asData('value-2'));
      await patch({ immutable: true });
      await assert.rejects(patch(asData('value-3')), refused);
      await assert.rejects(patch({ immutable: false }), refused);
      await assert.rejects(patch({ immutable: null }), refused);
      await patch({ metadata: { labels: { still: 'changeable' } } });
      await node.client.delete(resource, key);
      await assert.rejects(node.client.get(resource, key), { code: 'NotFound' });
    });
  }

  it('Projected combined should project all components that make up the projection API', async () => {
    const namespace = await node.namespace();
    await writeConfigMap(namespace, 'settings', { 'configmap-data': 'from the config map' });
    await writeSecret(namespace, 'password', { 'secret-data': 'from the secret' });
    const downwardAPI = { items: [{ path: 'podname', fieldRef: { fieldPath: 'metadata.name' } }] };
    const sourcesOfAll = [{ configMap: { name: 'settings' } }, { secret: { name: 'password' } }, { downwardAPI }];
    const text = await node.output(namespace, {
      name: 'projecting',
      spec: {
        volumes: [{ name: 'all', projected: { sources: sourcesOfAll } }],
        containers: [
          script('cat /all/podname; echo; cat /all/secret-data; echo; cat /all/configmap-data', {
            volumeMounts: [{ name: 'all', mountPath: '/all' }],
          }),
        ],
      },
    });
    assert.equal(text, 'projecting\nfrom the secret\nfrom the config map');
  });

  it('EmptyDir wrapper volumes should not conflict', async () => {
    const namespace = await node.namespace();
    await writeSecret(namespace, 'object', { 'data-1': 'value-1' });
    await writeConfigMap(namespace, 'object', { 'data-1': 'value-1' });
    const names = ['secret-volume', 'configmap-volume'];
    const { metadata } = await node.createPod(namespace, {
      spec: {
        volumes: [
          { name: 'secret-volume', secret: { secretName: 'object' } },
          { name: 'configmap-volume', configMap: { name: 'object' } },
        ],
        containers: [script('sleep 600', { volumeMounts: names.map((name) => ({ name, mountPath: `/etc/${name}` })) })],
      },
    });
    await node.waitReady(namespace, metadata.name ?? '');
    await node.client.delete(secrets, { namespace, name: 'object' });
    await node.client.delete(configmaps, { namespace, name: 'object' });
  });
});
