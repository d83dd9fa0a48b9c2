// What a container's process finds: environment from every source, expansion, command and arguments.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Container, EnvVar } from '#kube/api/generated/core-v1.ts';
import { configmaps, pods, secrets, services } from '#kube/api/generated/resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { entrypointImage } from '../../support/test-images.ts';

const field = (name: string, fieldPath: string): EnvVar => ({ name, valueFrom: { fieldRef: { fieldPath } } });
const resource = (name: string, path: string): EnvVar => ({
  name,
  valueFrom: { resourceFieldRef: { resource: path } },
});
const base64 = (text: string) => Buffer.from(text).toString('base64');

describe('the environment of containers', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster({ testImages: true });
  });
  after(() => node?.[Symbol.asyncDispose]());

  const run = async (container: Container, namespace?: string, name = 'shown') =>
    node.output(namespace ?? (await node.namespace()), { name, spec: { containers: [container] } });
  const env = async (variables: EnvVar[], fields: Partial<Container> = {}) =>
    run(script('env', { env: variables, ...fields }));
  const lines = (text: string) => text.split('\n');
  const hasLines = (text: string, ...expected: string[]) => {
    const all = lines(text);
    for (const line of expected) assert.ok(all.includes(line), `${line} is not in\n${text}`);
  };

  for (const [kind, names] of [
    [
      'ConfigMap',
      [
        'ConfigMap should be consumable via environment variable',
        'ConfigMap should be consumable via the environment',
        'ConfigMap should be consumable as environment variable names with various prefixes',
      ],
    ],
    [
      'Secret',
      [
        'Secrets should be consumable from pods in env vars',
        'Secrets should be consumable via the environment',
        'Secrets should be consumable as environment variable names variable names with various prefixes',
      ],
    ],
  ] as const) {
    const data = { data_1: 'value-1', data_2: 'value-2', data_3: 'value-3' };
    const write = async () => {
      const namespace = await node.namespace();
      const metadata = { name: 'object' };
      if (kind === 'ConfigMap') await node.client.create(configmaps, namespace, { metadata, data });
      else await node.client.create(secrets, namespace, { metadata, stringData: data });
      return namespace;
    };
    const keyRef = { name: 'object', key: 'data_1' };
    const ref = kind === 'ConfigMap' ? { configMapRef: { name: 'object' } } : { secretRef: { name: 'object' } };
    const [one, all, prefixed] = names;
    it(one, async () => {
      const valueFrom = kind === 'ConfigMap' ? { configMapKeyRef: keyRef } : { secretKeyRef: keyRef };
      hasLines(await run(script('env', { env: [{ name: 'DATA_1', valueFrom }] }), await write()), 'DATA_1=value-1');
    });
    it(all, async () => {
      const envFrom = [ref, { prefix: 'p_', ...ref }];
      const expected = Object.entries(data).flatMap(([key, value]) => [`${key}=${value}`, `p_${key}=${value}`]);
      hasLines(await run(script('env', { envFrom }), await write()), ...expected);
    });
    it(prefixed, async () => {
      const prefixes = ['p-', '1-', '$_-', 'p.', '#[special'];
      const envFrom = prefixes.map((prefix) => ({ prefix, ...ref }));
      // A shell would keep names from its children that it cannot use itself.
      const text = await run(script('', { command: ['cat', '/proc/self/environ'], envFrom }), await write());
      hasLines(
        text.replaceAll('\0', '\n'),
        ...prefixes.flatMap((prefix) => [`${prefix}data_1=value-1`, `${prefix}data_3=value-3`]),
      );
    });
  }

  it('Downward API should provide pod name, namespace and IP address as env vars', async () => {
    const namespace = await node.namespace();
    const variables = [
      field('POD_NAME', 'metadata.name'),
      field('POD_NAMESPACE', 'metadata.namespace'),
      field('POD_IP', 'status.podIP'),
    ];
    const text = await run(script('env', { env: variables }), namespace);
    const { status } = await node.pod(namespace, 'shown');
    hasLines(text, 'POD_NAME=shown', `POD_NAMESPACE=${namespace}`, `POD_IP=${status?.podIP}`);
  });

  for (const [name, path] of [
    ['Downward API should provide host IP as an env var', 'status.hostIP'],
    ['Downward API should provide hostIPs as an env var', 'status.hostIPs'],
  ] as const) {
    it(name, async () => {
      const addresses = (await node.node()).status?.addresses ?? [];
      const ip = addresses.find(({ type }) => type === 'InternalIP')?.address;
      hasLines(await env([field('HOST', path)]), `HOST=${ip}`);
    });
  }

  it('Downward API should provide pod UID as env vars', async () => {
    const namespace = await node.namespace();
    const text = await run(script('env', { env: [field('POD_UID', 'metadata.uid')] }), namespace);
    hasLines(text, `POD_UID=${(await node.pod(namespace, 'shown')).metadata.uid}`);
  });

  const limits = [
    resource('CPU_LIMIT', 'limits.cpu'),
    resource('MEMORY_LIMIT', 'limits.memory'),
    resource('CPU_REQUEST', 'requests.cpu'),
    resource('MEMORY_REQUEST', 'requests.memory'),
  ];
  it("Downward API should provide container's limits.cpu/memory and requests.cpu/memory as env vars", async () => {
    const resources = { requests: { cpu: '250m', memory: '32Mi' }, limits: { cpu: '1250m', memory: '64Mi' } };
    const text = await env(limits, { resources });
    hasLines(text, 'CPU_LIMIT=2', 'MEMORY_LIMIT=67108864', 'CPU_REQUEST=1', 'MEMORY_REQUEST=33554432');
  });

  it('Downward API should provide default limits.cpu/memory from node allocatable', async () => {
    const allocatable = (await node.node()).status?.allocatable ?? {};
    const text = await env(limits.slice(0, 2));
    hasLines(text, `CPU_LIMIT=${allocatable['cpu']}`, `MEMORY_LIMIT=${quantityValue(allocatable['memory'])}`);
  });

  it('Pods should contain environment variables for services', async () => {
    const namespace = await node.namespace();
    const service = await node.client.create(services, namespace, {
      metadata: { name: 'foo-service' },
      spec: { ports: [{ port: 8765, targetPort: 8080 }], selector: { name: 'server' } },
    });
    const ip = service.spec?.clusterIP;
    const text = await run(script('sleep 0.2; env'), namespace);
    hasLines(
      text,
      `FOO_SERVICE_SERVICE_HOST=${ip}`,
      'FOO_SERVICE_SERVICE_PORT=8765',
      `FOO_SERVICE_PORT=tcp://${ip}:8765`,
      `FOO_SERVICE_PORT_8765_TCP_PORT=8765`,
      'FOO_SERVICE_PORT_8765_TCP_PROTO=tcp',
      `FOO_SERVICE_PORT_8765_TCP=tcp://${ip}:8765`,
      `FOO_SERVICE_PORT_8765_TCP_ADDR=${ip}`,
      'KUBERNETES_SERVICE_HOST=10.96.0.1',
    );
  });

  it('Variable Expansion should allow composing env vars into new env vars', async () => {
    const variables = [
      { name: 'FOO', value: 'foo-value' },
      { name: 'BAR', value: 'bar-value' },
      { name: 'FOOBAR', value: '$(FOO);;$(BAR)' },
      { name: 'KEPT', value: '$$(FOO) $(ABSENT)' },
    ];
    hasLines(await env(variables), 'FOOBAR=foo-value;;bar-value', 'KEPT=$(FOO) $(ABSENT)');
  });

  it("Variable Expansion should allow substituting values in a container's command", async () => {
    const command = ['sh', '-c', 'TEST_VAR=wrong echo "$(TEST_VAR)"'];
    assert.equal(await run(script('', { command, env: [{ name: 'TEST_VAR', value: 'test-value' }] })), 'test-value\n');
  });

  it("Variable Expansion should allow substituting values in a container's args", async () => {
    const args = ['TEST_VAR=wrong echo "$(TEST_VAR)"'];
    const container = script('', { command: ['sh', '-c'], args, env: [{ name: 'TEST_VAR', value: 'test-value' }] });
    assert.equal(await run(container), 'test-value\n');
  });

  for (const [name, fields, expected] of [
    [
      'Containers should use the image defaults if command and args are blank',
      {},
      'default-entrypoint default arguments\n',
    ],
    [
      "Containers should be able to override the image's default arguments (container cmd)",
      { args: ['override', 'arguments'] },
      'default-entrypoint override arguments\n',
    ],
    [
      "Containers should be able to override the image's default command (container entrypoint)",
      { command: ['/bin/busybox', 'echo', 'entrypoint-2'] },
      'entrypoint-2\n',
    ],
    [
      "Containers should be able to override the image's default command and arguments",
      { command: ['/bin/busybox', 'echo', 'entrypoint-2'], args: ['override', 'arguments'] },
      'entrypoint-2 override arguments\n',
    ],
  ] as const) {
    it(name, async () => {
      const { command, args } = { command: undefined, args: undefined, ...fields };
      const container: Container = {
        name: 'main',
        image: entrypointImage,
        ...(command === undefined ? {} : { command: [...command] }),
        ...(args === undefined ? {} : { args: [...args] }),
      };
      assert.equal(await run(container), expected);
    });
  }

  it('Secrets should patch a secret', async () => {
    const namespace = await node.namespace();
    const metadata = { name: 'patched', labels: { testsecret: namespace } };
    await node.client.create(secrets, namespace, { metadata, data: { key: base64('value') }, type: 'Opaque' });
    const labelSelector = `testsecret=${namespace}`;
    const listed = await node.client.list(secrets, { labelSelector });
    assert.deepEqual(
      listed.items.map((item) => item.metadata.name),
      ['patched'],
    );
    const key = { namespace, name: 'patched' };
    await node.client.patch(secrets, key, 'strategic', {
      metadata: { labels: { patched: 'true' } },
      data: { key: base64('value1') },
    });
    const patched = await node.client.get(secrets, key);
    assert.deepEqual(patched.metadata.labels, { testsecret: namespace, patched: 'true' });
    assert.deepEqual(patched.data, { key: base64('value1') });
    await node.client.deleteCollection(secrets, { namespace, labelSelector });
    assert.deepEqual((await node.client.list(secrets, { labelSelector })).items, []);
  });

  it('Pods Extended Pods Set QOS Class should be set on Pods with matching resource requests and limits for memory and cpu', async () => {
    const resources = { cpu: '100m', memory: '100Mi' };
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'guaranteed',
      spec: { containers: [script('sleep 600', { resources: { limits: resources, requests: resources } })] },
    });
    const pod = await node.client.get(pods, { namespace, name: 'guaranteed' });
    assert.equal(pod.status?.qosClass, 'Guaranteed');
    assert.equal((await node.waitReady(namespace, 'guaranteed')).status?.qosClass, 'Guaranteed');
  });
});
