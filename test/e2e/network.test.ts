// Services and cluster DNS as pods on a real cluster meet them, by the names of the behaviours they prove.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { endpoints, endpointslices, services } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ServiceTests, startServiceTests } from '../support/network-suite.ts';
import { type NodeCluster, script, startNodeCluster } from '../support/node-cluster.ts';

const bounds = { timeout: 240_000 };
const selector = { app: 'web' };
const ports = [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }];
const zone = 'svc.cluster.local';

describe('the network of a cluster', { skip: clustersUnavailable() ?? false, concurrency: 6 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  /** One behaviour, in a namespace of its own. */
  const behaviour = (name: string, prove: (tests: ServiceTests) => Promise<void>): void => {
    it(name, bounds, async () => prove(await startServiceTests(node)));
  };
  const nodeIP = async (): Promise<string> =>
    (await node.node()).status?.addresses?.find(({ type }) => type === 'InternalIP')?.address ?? '';
  const reversed = (ip: string): string => `${ip.split('.').reverse().join('.')}.in-addr.arpa`;

  behaviour('DNS should provide DNS for the cluster', async ({ waitRecords }) => {
    const { spec } = await node.client.get(services, { namespace: 'default', name: 'kubernetes' });
    await waitRecords(`kubernetes.default.${zone}`, 'a', [spec.clusterIP ?? '-']);
    await waitRecords(reversed(spec.clusterIP ?? ''), 'ptr', [`kubernetes.default.${zone}`]);
  });

  behaviour('DNS should provide DNS for services', async ({ namespace, serve, create, waitRecords, waitAnswers }) => {
    const [first = '', second = ''] = await serve(['a', 'b']);
    await create('headless', { clusterIP: 'None', selector, ports });
    const { spec } = await create('normal', { selector, ports });
    const base = `${namespace}.${zone}`;
    await waitRecords(`headless.${base}`, 'a', [first, second]);
    await waitRecords(`normal.${base}`, 'a', [spec.clusterIP ?? '-']);
    await waitRecords(`_http._tcp.normal.${base}`, 'srv', [`80 normal.${base}`]);
    for (const ip of [first, second]) {
      await waitRecords(`_http._tcp.headless.${base}`, 'srv', [`8080 ${ip.replaceAll('.', '-')}.headless.${base}`]);
      await waitRecords(reversed(ip), 'ptr', [`${ip.replaceAll('.', '-')}.headless.${base}`]);
    }
    await waitRecords(reversed(spec.clusterIP ?? ''), 'ptr', [`normal.${base}`]);
    for (const name of ['normal', `normal.${namespace}`, `normal.${namespace}.svc`]) {
      await waitAnswers(`http://${name}/`, ['a', 'b']);
    }
  });

  for (const name of [
    'DNS should provide DNS for pods for Hostname',
    'DNS should provide DNS for pods for Subdomain',
  ]) {
    behaviour(name, async ({ namespace, create, waitRecords }) => {
      await create('sub', { clusterIP: 'None', selector: { app: 'named' }, ports });
      await node.createPod(namespace, {
        metadata: { name: 'named', labels: { app: 'named' } },
        spec: { hostname: 'host', subdomain: 'sub', containers: [script('exec sleep 3600')] },
      });
      const { status } = await node.waitReady(namespace, 'named', 120_000);
      const full = `host.sub.${namespace}.${zone}`;
      await waitRecords(full, 'a', [status?.podIP ?? '-']);
      await waitRecords(`sub.${namespace}.${zone}`, 'a', [status?.podIP ?? '-']);
      assert.equal((await node.shell(namespace, 'named', 'hostname')).trim(), 'host');
      assert.equal((await node.shell(namespace, 'named', 'hostname -f')).trim(), full);
    });
  }

  behaviour('DNS should provide /etc/hosts entries for the cluster', async ({ namespace, create }) => {
    await create('sub', { clusterIP: 'None', selector: { app: 'named' }, ports });
    await node.createPod(namespace, {
      name: 'named',
      spec: { hostname: 'host', subdomain: 'sub', containers: [script('exec sleep 3600')] },
    });
    const { status } = await node.waitReady(namespace, 'named', 120_000);
    const lines = (await node.shell(namespace, 'named', 'cat /etc/hosts')).split('\n').map((line) => line.split(/\s+/));
    const own = lines.find(([address]) => address === status?.podIP);
    assert.deepEqual(own?.slice(1, 3), [`host.sub.${namespace}.${zone}`, 'host']);
  });

  behaviour('DNS should support configurable pod DNS nameservers', async ({ namespace }) => {
    const dnsConfig = { nameservers: ['192.0.2.53'], searches: ['resolv.conf.local'] };
    await node.createPod(namespace, {
      name: 'own',
      spec: { dnsPolicy: 'None', dnsConfig, containers: [script('exec sleep 3600')] },
    });
    await node.waitReady(namespace, 'own', 120_000);
    const text = await node.shell(namespace, 'own', 'cat /etc/resolv.conf');
    assert.deepEqual(text.trim().split('\n').sort(), ['nameserver 192.0.2.53', 'search resolv.conf.local']);
  });

  behaviour('DNS should provide DNS for ExternalName services', async ({ namespace, create, change, waitRecords }) => {
    const name = `out.${namespace}.${zone}`;
    await create('out', { type: 'ExternalName', externalName: 'foo.example.invalid' });
    await waitRecords(name, 'cname', ['foo.example.invalid']);
    await change('out', { externalName: 'bar.example.invalid' });
    await waitRecords(name, 'cname', ['bar.example.invalid']);
    const { spec } = await change('out', { type: 'ClusterIP', externalName: null, ports });
    await waitRecords(name, 'a', [spec.clusterIP ?? '-']);
  });

  for (const [name, type] of [
    ['Services should be able to change the type from ExternalName to ClusterIP', 'ClusterIP'],
    ['Services should be able to change the type from ExternalName to NodePort', 'NodePort'],
  ] as const) {
    behaviour(name, async (tests) => {
      const { namespace, serve, create, change, waitAnswers } = tests;
      await serve(['a', 'b']);
      const before = await create('svc', { type: 'ExternalName', externalName: 'example.invalid' });
      assert.equal(before.spec.clusterIP ?? '', '');
      const { spec } = await change('svc', { type, externalName: null, selector, ports });
      for (const host of [spec.clusterIP, `svc.${namespace}.${zone}`]) await waitAnswers(`http://${host}/`, ['a', 'b']);
      if (type === 'NodePort') {
        await waitAnswers(`http://${await nodeIP()}:${spec.ports?.[0]?.nodePort}/`, ['a', 'b']);
      }
    });
  }

  for (const [name, type] of [
    ['Services should be able to change the type from ClusterIP to ExternalName', 'ClusterIP'],
    ['Services should be able to change the type from NodePort to ExternalName', 'NodePort'],
  ] as const) {
    behaviour(name, async (tests) => {
      const { namespace, serve, create, change, waitAnswers, waitRecords } = tests;
      await serve(['a']);
      const before = await create('svc', { type, selector, ports });
      await waitAnswers(`http://${before.spec.clusterIP}/`, ['a']);
      await create('target', { selector, ports });
      const target = `target.${namespace}.${zone}`;
      // As upstream's clients do it: without ports of its own.
      const { spec } = await change('svc', {
        type: 'ExternalName',
        externalName: target,
        clusterIP: null,
        clusterIPs: null,
        ports: null,
      });
      assert.equal(spec.clusterIP ?? '', '');
      assert.equal(spec.ports?.[0]?.nodePort, undefined);
      await waitRecords(`svc.${namespace}.${zone}`, 'cname', [target]);
      await waitAnswers(`http://svc.${namespace}.${zone}/`, ['a']);
    });
  }

  behaviour('Services should be able to create a functioning NodePort service', async (tests) => {
    const { namespace, serve, create, waitAnswers } = tests;
    await serve(['a', 'b']);
    const { spec } = await create('svc', { type: 'NodePort', selector, ports });
    const ways = [`svc.${namespace}.${zone}`, spec.clusterIP, `${await nodeIP()}:${spec.ports?.[0]?.nodePort}`];
    for (const way of ways) await waitAnswers(`http://${way}/`, ['a', 'b']);
  });

  const affinities = [
    {
      type: 'NodePort',
      works: 'Services should have session affinity work for NodePort service',
      switches: 'Services should be able to switch session affinity for NodePort service',
    },
    {
      type: 'ClusterIP',
      works: 'Services should have session affinity work for service with type clusterIP',
      switches: 'Services should be able to switch session affinity for service with type clusterIP',
    },
  ] as const;
  for (const { type, works, switches } of affinities) {
    const start = async ({ serve, create, answers }: ServiceTests) => {
      await serve(['a', 'b', 'c']);
      const { spec } = await create('svc', { type, selector, ports, sessionAffinity: 'ClientIP' });
      const cluster = `http://${spec.clusterIP}/`;
      const url = type === 'NodePort' ? `http://${await nodeIP()}:${spec.ports?.[0]?.nodePort}/` : cluster;
      const waitSticky = (each: string) =>
        eventually(`one pod answers ${each}`, async () => {
          const names = await answers(each);
          return names.length === 1 && names[0] !== 'refused' && names[0];
        });
      return { cluster, url, waitSticky };
    };

    behaviour(works, async (tests) => {
      const { cluster, url, waitSticky } = await start(tests);
      for (const each of [cluster, url]) {
        const name = await waitSticky(each);
        for (let batch = 0; batch < 3; batch += 1) assert.deepEqual(await tests.answers(each), [name]);
      }
    });

    behaviour(switches, async (tests) => {
      const { url, waitSticky } = await start(tests);
      await waitSticky(url);
      await tests.change('svc', { sessionAffinity: 'None' });
      await tests.waitAnswers(url, ['a', 'b', 'c']);
      await tests.change('svc', { sessionAffinity: 'ClientIP' });
      await waitSticky(url);
    });
  }

  behaviour('Services should serve a basic endpoint from pods', async (tests) => {
    const { namespace, serve, create, waitEndpoints, waitAnswers } = tests;
    const { spec } = await create('svc', { selector, ports });
    await waitEndpoints('svc', []);
    const [first = ''] = await serve(['a']);
    await waitEndpoints('svc', [`${first}:8080`]);
    await waitAnswers(`http://${spec.clusterIP}/`, ['a']);
    const [second = ''] = await serve(['b']);
    await waitEndpoints('svc', [`${first}:8080`, `${second}:8080`]);
    await waitAnswers(`http://${spec.clusterIP}/`, ['a', 'b']);
    await node.cluster.kubectl('delete', 'pod', '-n', namespace, 'a');
    await waitEndpoints('svc', [`${second}:8080`]);
    await waitAnswers(`http://${spec.clusterIP}/`, ['b']);
    await node.cluster.kubectl('delete', 'pod', '-n', namespace, 'b');
    await waitEndpoints('svc', []);
  });

  behaviour('Services should serve multiport endpoints from pods', async (tests) => {
    const { namespace, serve, create, waitEndpoints, waitAnswers } = tests;
    const two = [
      { name: 'one', port: 80, targetPort: 'p8080' },
      { name: 'two', port: 81, targetPort: 'p8081' },
    ];
    const { spec } = await create('svc', { selector, ports: two });
    await waitEndpoints('svc', []);
    const [first = ''] = await serve(['a'], [8080]);
    await waitEndpoints('svc', [`${first}:8080`]);
    const [second = ''] = await serve(['b'], [8081]);
    await waitEndpoints('svc', [`${first}:8080`, `${second}:8081`]);
    await waitAnswers(`http://${spec.clusterIP}:80/`, ['a']);
    await waitAnswers(`http://${spec.clusterIP}:81/`, ['b']);
    await node.cluster.kubectl('delete', 'pod', '-n', namespace, 'a');
    await waitEndpoints('svc', [`${second}:8081`]);
    await node.cluster.kubectl('delete', 'pod', '-n', namespace, 'b');
    await waitEndpoints('svc', []);
  });

  for (const [name, different] of [
    ['EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices', true],
    ['EndpointSlice should support a Service with multiple ports specified in multiple EndpointSlices', false],
  ] as const) {
    behaviour(name, async ({ namespace, serve, create, waitAnswers }) => {
      const [first = '', second = first] = await serve(different ? ['a', 'b'] : ['a'], [8080, 8081]);
      const own = [
        { name: 'one', port: 80 },
        { name: 'two', port: 81 },
      ];
      const { spec } = await create('svc', { ports: own });
      for (const [port, address, number] of [
        ['one', first, 8080],
        ['two', second, 8081],
      ] as const) {
        await node.client.create(endpointslices, namespace, {
          metadata: { name: `svc-${port}`, labels: { 'kubernetes.io/service-name': 'svc' } },
          addressType: 'IPv4',
          endpoints: [{ addresses: [address] }],
          ports: [{ name: port, port: number, protocol: 'TCP' }],
        });
      }
      await waitAnswers(`http://${spec.clusterIP}:80/`, ['a']);
      await waitAnswers(`http://${spec.clusterIP}:81/`, [different ? 'b' : 'a']);
    });
  }

  for (const what of [
    'EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service',
    'EndpointsController should create Endpoints for Pods matching a Service',
  ]) {
    behaviour(what, async ({ namespace, serve, create, waitEndpoints }) => {
      const ips = await serve(['a', 'b']);
      await create('svc', { selector, ports });
      await waitEndpoints(
        'svc',
        ips.map((ip) => `${ip}:8080`),
      );
      await node.cluster.kubectl('delete', 'pod', '-n', namespace, 'a', 'b');
      await waitEndpoints('svc', []);
    });
  }

  for (const what of [
    'EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods',
    'EndpointsController should create and delete Endpoints for a Service with a selector that matches no pods',
  ]) {
    behaviour(what, async ({ namespace, create }) => {
      await create('svc', { selector, ports });
      const labelSelector = 'kubernetes.io/service-name=svc';
      const slices = async () => (await node.client.list(endpointslices, { namespace, labelSelector })).items;
      const [slice] = await eventually('an empty slice', async () => {
        const found = await slices();
        return found.length === 1 && found;
      });
      assert.deepEqual(slice?.endpoints ?? [], []);
      const own = await eventually('empty Endpoints', () => node.client.get(endpoints, { namespace, name: 'svc' }));
      assert.deepEqual(own.subsets ?? [], []);
      await node.client.delete(services, { namespace, name: 'svc' });
      await eventually('both are gone', async () => {
        const left = await node.client.list(endpoints, { namespace });
        return (await slices()).length === 0 && left.items.length === 0;
      });
    });
  }

  behaviour('API Server should have Endpoints and EndpointSlices pointing to API Server', async () => {
    const key = { namespace: 'default', name: 'kubernetes' };
    const { subsets } = await node.client.get(endpoints, key);
    const slice = await node.client.get(endpointslices, key);
    const addresses = (subsets ?? []).flatMap((subset) => (subset.addresses ?? []).map(({ ip }) => ip));
    assert.ok(addresses.length > 0);
    assert.deepEqual(
      slice.endpoints?.flatMap((endpoint) => endpoint.addresses),
      addresses,
    );
    assert.equal(slice.metadata.labels?.['kubernetes.io/service-name'], 'kubernetes');
    assert.deepEqual(
      slice.ports?.map(({ name, port }) => [name, port]),
      [['https', subsets?.[0]?.ports?.[0]?.port]],
    );
  });

  behaviour('API Server should provide secure master service', async () => {
    const { spec } = await node.client.get(services, { namespace: 'default', name: 'kubernetes' });
    assert.deepEqual(
      spec.ports?.map(({ name, port }) => [name, port]),
      [['https', 443]],
    );
  });

  behaviour('Services should find a service from listing all namespaces', async () => {
    const { items } = await node.client.list(services, {});
    assert.ok(items.some(({ metadata }) => metadata.name === 'kubernetes' && metadata.namespace === 'default'));
  });

  behaviour('Networking Granular Checks: Pods should function for intra-pod communication: http', async (tests) => {
    const [first = '', second = ''] = await tests.serve(['a', 'b']);
    await tests.waitAnswers(`http://${first}:8080/`, ['a']);
    await tests.waitAnswers(`http://${second}:8080/`, ['b']);
  });

  behaviour('Networking Granular Checks: Pods should function for node-pod communication: http', async ({ serve }) => {
    for (const [index, ip] of (await serve(['a', 'b'])).entries()) {
      assert.equal((await node.cluster.fetch(`http://${ip}:8080/`)).stdout.trim(), ['a', 'b'][index]);
    }
  });

  it(
    'EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete',
    bounds,
    async () => {
      const namespace = await node.namespace();
      await node.client.create(services, namespace, { metadata: { name: 'own' }, spec: { ports } });
      const subsets = (ip: string) => [{ addresses: [{ ip }], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] }];
      const mirrored = (what: string, expected: readonly string[]) =>
        eventually(what, async () => {
          const labelSelector = 'kubernetes.io/service-name=own';
          const { items } = await node.client.list(endpointslices, { namespace, labelSelector });
          const found = items.flatMap((slice) => (slice.endpoints ?? []).flatMap(({ addresses }) => addresses));
          return `${found}` === `${expected}`;
        });
      const created = await node.client.create(endpoints, namespace, {
        metadata: { name: 'own' },
        subsets: subsets('192.0.2.1'),
      });
      await mirrored('the first address', ['192.0.2.1']);
      await node.client.update(endpoints, { ...created, subsets: subsets('192.0.2.2') });
      await mirrored('the second address', ['192.0.2.2']);
      await node.client.delete(endpoints, { namespace, name: 'own' });
      await mirrored('nothing', []);
    },
  );

  it('Endpoints should test the lifecycle of an Endpoint', bounds, async () => {
    const namespace = await node.namespace();
    const key = { namespace, name: 'own' };
    const subsets = (ip: string, port: number) => [
      { addresses: [{ ip }], ports: [{ name: 'http', port, protocol: 'TCP' }] },
    ];
    const labels = { 'test-endpoint-static': 'true' };
    const created = await node.client.create(endpoints, namespace, {
      metadata: { name: 'own', labels },
      subsets: subsets('192.0.2.1', 80),
    });
    const all = await node.client.list(endpoints, { labelSelector: 'test-endpoint-static=true' });
    assert.deepEqual(
      all.items.map(({ metadata }) => metadata.uid),
      [created.metadata.uid],
    );
    await node.client.update(endpoints, {
      ...created,
      metadata: { ...created.metadata, labels: { ...labels, own: 'updated' } },
    });
    assert.equal((await node.client.get(endpoints, key)).metadata.labels?.['own'], 'updated');
    await node.client.patch(endpoints, key, 'strategic', { subsets: subsets('192.0.2.2', 8080) });
    assert.deepEqual((await node.client.get(endpoints, key)).subsets, subsets('192.0.2.2', 8080));
    const { metadata } = await node.client.list(endpoints, { namespace });
    const signal = AbortSignal.timeout(30_000);
    const watch = node.client.watch(endpoints, { namespace, resourceVersion: metadata.resourceVersion, signal });
    await node.client.deleteCollection(endpoints, { namespace, labelSelector: 'test-endpoint-static=true' });
    for await (const event of watch) if (event.type === 'DELETED' && event.object.metadata.name === 'own') break;
    await assert.rejects(node.client.get(endpoints, key), { code: 'NotFound' });
  });
});
