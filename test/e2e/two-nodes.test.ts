import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { createNetworkNamespace } from '../support/network-namespace.ts';
import { createPacketPlace } from '../support/packet-place.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;
const serve = 'mkdir /w && hostname > /w/index.html && exec httpd -f -p 8080 -h /w';

describe('two nodes on one machine', { skip }, () => {
  let cluster: TestCluster;
  const kubectl = (...args: string[]) => cluster.kubectl(...args);
  const nodes = () => cluster.layout.nodes.map((node) => node.name);

  before(async () => {
    const upFlags = ['--pod-cidr=10.244.0.0/16,fd00:10:244::/56', '--service-cidr=10.96.0.0/16,fd00:10:96::/112'];
    cluster = await startTestCluster({ nodes: 2, upFlags });
    for (const [i, nodeName] of nodes().entries()) {
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: `on-${i + 1}`, labels: { app: 'pair' } },
        spec: {
          nodeName,
          terminationGracePeriodSeconds: 1,
          containers: [
            {
              name: 'main',
              image,
              command: ['sh', '-c', serve],
              readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
            },
          ],
        },
      });
    }
    await kubectl('expose', 'pod', 'on-1', '--name=pair', '--port=80', '--target-port=8080', '--selector=app=pair');
    await kubectl('wait', '--for=condition=Ready', 'pod/on-1', 'pod/on-2', '--timeout=60s');
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  it('are both ready, with pod ranges of their own', async () => {
    const table = await kubectl('get', 'nodes', '--no-headers');
    assert.equal(
      table
        .trim()
        .split('\n')
        .filter((line) => / Ready /.test(line)).length,
      2,
    );
    const ranges = (await kubectl('get', 'nodes', '-o', 'jsonpath={.items[*].spec.podCIDR}')).split(' ');
    assert.equal(new Set(ranges).size, 2);
  });

  it('Conformance Tests should have at least two untainted nodes', async () => {
    const { items } = JSON.parse(await kubectl('get', 'nodes', '-o', 'json')) as {
      items: {
        spec: { unschedulable?: boolean; taints?: object[] };
        status: { conditions: { type: string; status: string }[] };
      }[];
    };
    const usable = items.filter(
      ({ spec, status }) =>
        spec.unschedulable !== true &&
        (spec.taints ?? []).length === 0 &&
        status.conditions.some((condition) => condition.type === 'Ready' && condition.status === 'True'),
    );
    assert.ok(usable.length >= 2, JSON.stringify(items));
  });

  it('let pods reach each other under their own addresses', async () => {
    const address = async (pod: string) => await kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.podIP}');
    const [first, second] = [await address('on-1'), await address('on-2')];
    assert.equal(
      await kubectl('exec', 'on-1', '--', 'timeout', '5', 'wget', '-q', '-O', '-', `http://${second}:8080/`),
      'on-2\n',
    );
    assert.equal(
      await kubectl('exec', 'on-2', '--', 'timeout', '5', 'wget', '-q', '-O', '-', `http://${first}:8080/`),
      'on-1\n',
    );
  });

  it('spread a service over both, from each of them', async () => {
    const ip = await kubectl('get', 'service', 'pair', '-o', 'jsonpath={.spec.clusterIP}');
    for (const from of ['on-1', 'on-2']) {
      const seen = new Set<string>();
      await eventually(`both answer ${from}`, async () => {
        seen.add((await kubectl('exec', from, '--', 'timeout', '5', 'wget', '-q', '-O', '-', `http://${ip}/`)).trim());
        return seen.size === 2;
      });
    }
  });

  it('give pods and services addresses of both families, which lead everywhere', async () => {
    const addressesOf = async (pod: string) =>
      (await kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.podIPs[*].ip}')).split(' ');
    const fetchFrom = async (pod: string, url: string) =>
      await kubectl('exec', pod, '--', 'timeout', '5', 'wget', '-q', '-O', '-', url);
    for (const [from, to] of [
      ['on-1', 'on-2'],
      ['on-2', 'on-1'],
    ] as const) {
      const [, address = ''] = await addressesOf(to);
      assert.match(address, /^fd00:10:244:/);
      await eventually(`${to} answers ${from}`, async () => {
        return (await fetchFrom(from, `http://[${address}]:8080/`)) === `${to}\n`;
      });
    }
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'pair-of-both' },
      spec: { ipFamilyPolicy: 'RequireDualStack', selector: { app: 'pair' }, ports: [{ port: 80, targetPort: 8080 }] },
    });
    const ips = (await kubectl('get', 'service', 'pair-of-both', '-o', 'jsonpath={.spec.clusterIPs[*]}')).split(' ');
    assert.equal(ips.length, 2);
    for (const ip of ips) {
      const url = `http://${ip.includes(':') ? `[${ip}]` : ip}/`;
      await eventually(`a page of ${ip}`, async () => (await fetchFrom('on-1', url)).startsWith('on-'));
    }
  });

  it('let pods of both out into the world under an address of the machine', async () => {
    await using outside = await createNetworkNamespace('berth-out');
    const { exec } = cluster.namespace;
    const peer = ['type', 'veth', 'peer', 'name', 'eth0', 'netns', outside.name];
    await execOrThrow(exec, 'ip', ['link', 'add', 'out0', ...peer]);
    for (const [run, device, end] of [
      [exec, 'out0', '1'],
      [outside.exec, 'eth0', '2'],
    ] as const) {
      await execOrThrow(run, 'ip', ['address', 'add', `198.51.100.${end}/24`, 'dev', device]);
      await execOrThrow(run, 'ip', ['address', 'add', `2001:db8:51::${end}/64`, 'dev', device, 'nodad']);
      await execOrThrow(run, 'ip', ['link', 'set', device, 'up']);
    }
    await using world = createPacketPlace('world', outside.path);
    await world.serve(8081);
    for (const host of ['198.51.100.2', '2001:db8:51::2']) {
      for (const pod of ['on-1', 'on-2']) {
        // The far end knows no way back to nodes or pods: what it sees is the machine.
        await eventually(`${pod} sees ${host}`, async () => {
          const ask = ['exec', pod, '--', 'sh', '-c', `timeout 2 nc ${host} 8081 < /dev/null`];
          return /^world (198\.51\.100\.1|2001:db8:51::1)/.test((await cluster.tryKubectl(ask)).stdout);
        });
      }
    }
    await execOrThrow(exec, 'ip', ['link', 'del', 'out0']);
  });

  it('enforce policies for their pods, from the first moment of each', async () => {
    const address = async (pod: string) => await kubectl('get', 'pod', pod, '-o', 'jsonpath={.status.podIP}');
    const reaches = async (from: string, to: string): Promise<boolean> => {
      const url = `http://${await address(to)}:8080/`;
      const command = ['exec', from, '--', 'timeout', '2', 'wget', '-q', '-O', '-', url];
      return (await cluster.tryKubectl(command)).exitCode === 0;
    };
    await cluster.apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'friends-only' },
      spec: {
        podSelector: { matchLabels: { app: 'pair' } },
        ingress: [{ from: [{ podSelector: { matchLabels: { friend: 'yes' } } }], ports: [{ port: 8080 }] }],
      },
    });
    await eventually('on-1 is closed to on-2', async () => !(await reaches('on-2', 'on-1')));
    await eventually('on-2 is closed to on-1', async () => !(await reaches('on-1', 'on-2')));
    await kubectl('label', 'pod', 'on-2', 'friend=yes');
    await eventually('on-1 is open to its friend', () => reaches('on-2', 'on-1'));
    assert.equal(await reaches('on-1', 'on-2'), false);
    // Kubelet's probes are never shut out.
    await kubectl('wait', '--for=condition=Ready', 'pod/on-1', 'pod/on-2', '--timeout=10s');
    // A pod asks as soon as it runs, before anybody can have told of its address: its own isolation holds already.
    await cluster.apply({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: 'early' },
      spec: { podSelector: { matchLabels: { app: 'early' } }, policyTypes: ['Egress'] },
    });
    const [, second = ''] = nodes();
    const ask = `timeout 2 wget -q -O /dev/null http://${await address('on-1')}:8080/ && echo open || echo closed`;
    const labels = { app: 'early', friend: 'yes' };
    const overrides = JSON.stringify({ metadata: { labels }, spec: { nodeName: second } });
    const command = ['--', 'sh', '-c', ask];
    await kubectl('run', 'early', `--image=${image}`, '--restart=Never', `--overrides=${overrides}`, ...command);
    await kubectl('wait', '--for=jsonpath={.status.phase}=Succeeded', 'pod/early', '--timeout=60s');
    assert.match(await kubectl('logs', 'early'), /^closed$/m);
    await kubectl('delete', 'networkpolicy', 'early');
    await kubectl('delete', 'networkpolicy', 'friends-only');
    await eventually('on-2 is open to on-1 again', () => reaches('on-1', 'on-2'));
  });

  it('serve logs and exec from the far node', async () => {
    assert.equal(await kubectl('exec', 'on-2', '--', 'hostname'), 'on-2\n');
  });

  it('schedule a deployment over both', async () => {
    await kubectl('create', 'deployment', 'spread', `--image=${image}`, '--replicas=4', '--', 'sleep', '600');
    await kubectl('rollout', 'status', 'deployment/spread', '--timeout=60s');
    const used = (await kubectl('get', 'pods', '-l', 'app=spread', '-o', 'jsonpath={.items[*].spec.nodeName}')).split(
      ' ',
    );
    assert.deepEqual([...new Set(used)].sort(), nodes().sort());
  });

  it('drain one onto the other', async () => {
    const [, second = ''] = nodes();
    await kubectl('cordon', second);
    await kubectl('drain', second, '--ignore-daemonsets', '--force', '--timeout=60s');
    await eventually('all replicas on the first', async () => {
      const used = (
        await kubectl(
          'get',
          'pods',
          '-l',
          'app=spread',
          '--field-selector=status.phase=Running',
          '-o',
          'jsonpath={.items[*].spec.nodeName}',
        )
      ).split(' ');
      return used.length === 4 && used.every((name) => name === nodes()[0]);
    });
    await kubectl('uncordon', second);
  });
});
