// The whole proxy between a control plane and the rules of a namespace.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import * as resources from '#kube/api/generated/resources.ts';
import { systemClock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { loadProxyConfig } from '../../../proxy/config/proxy-config.ts';
import { createProxy } from '../../../proxy/wiring.ts';
import { eventually } from '../../support/eventually.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
  namespacesUnavailable,
} from '../../support/network-namespace.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const skip = namespacesUnavailable() ?? false;
const logger = pino({ level: 'silent' });
const namespace = 'default';

describe('the proxy', { skip }, () => {
  let plane: TestControlPlane;
  let network: NetworkNamespace;
  before(async () => {
    plane = await startControlPlane();
    network = await createNetworkNamespace('berth-proxy');
    await plane.client.create(resources.services, namespace, {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace },
      spec: { clusterIP: '10.96.77.1', ports: [{ name: 'http', port: 80, targetPort: 8080, protocol: 'TCP' }] },
    });
    await plane.client.create(resources.endpointslices, namespace, {
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { name: 'web-1', namespace, labels: { 'kubernetes.io/service-name': 'web' } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: [{ addresses: ['10.244.9.9'], conditions: { ready: true } }],
    });
  });
  after(async () => {
    await network?.[Symbol.asyncDispose]();
    await plane?.stop();
  });

  /** Runs a proxy until `work` is done. */
  async function withProxy(
    mode: string,
    work: () => Promise<void>,
    flags: string[] = [],
    exec: Exec = network.exec,
  ): Promise<void> {
    const { config } = loadProxyConfig([
      `--kubeconfig=${plane.kubeconfig}`,
      `--proxy-mode=${mode}`,
      '--iptables-min-sync-period=10ms',
      '--iptables-localhost-nodeports=false',
      '--healthz-bind-address=127.0.0.1:0',
      '--metrics-bind-address=127.0.0.1:0',
      '--conntrack-max-per-core=0',
      '--conntrack-tcp-timeout-established=0s',
      '--conntrack-tcp-timeout-close-wait=0s',
      ...flags,
    ]);
    const stop = new AbortController();
    const proxy = await createProxy({ config, nodeName: 'node', clock: systemClock, exec, env: {}, logger });
    const running = proxy.run(stop.signal);
    try {
      await Promise.race([proxy.ready, running]);
      await work();
    } finally {
      stop.abort();
      await running;
    }
  }

  const listing = async (): Promise<string> => execOrThrow(network.exec, 'nft', ['list', 'table', 'ip', 'kube-proxy']);
  const saved = async (): Promise<string> => execOrThrow(network.exec, 'iptables-save', []);

  it('programs services in mode iptables', async () => {
    await withProxy('iptables', async () => assert.match(await saved(), /10\.96\.77\.1\/32.*-j KUBE-SVC/));
    assert.match(await saved(), /KUBE-SVC/, 'rules stay when the proxy ends');
  });

  it('takes over in mode nftables, leaves no iptables rule, and follows changes', async () => {
    await withProxy('nftables', async () => {
      assert.match(await listing(), /10\.96\.77\.1 \. tcp \. 80 : goto service-/);
      assert.doesNotMatch(await saved(), /KUBE-/);
      await eventually('the service range is known', async () =>
        /ip daddr 10\.96\.0\.0\/\d+ drop/.test(await listing()),
      );
      await plane.client.delete(resources.endpointslices, { name: 'web-1', namespace });
      await eventually('the service rejects', async () =>
        /10\.96\.77\.1 \. tcp \. 80 comment "default\/web:http" : goto reject-chain/.test(await listing()),
      );
    });
  });

  it('takes node ports on the new address when the address of its node changes', async () => {
    const status = (address: string) => ({ addresses: [{ type: 'InternalIP', address }] });
    const meta = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'node' }, spec: {} };
    await plane.client.create(resources.nodes, undefined, { ...meta, status: status('192.0.2.10') });
    await withProxy('nftables', async () => {
      assert.match(await listing(), /elements = \{ 192\.0\.2\.10 \}/);
      await plane.client.patch(
        resources.nodes,
        { name: 'node' },
        'merge',
        { status: status('192.0.2.11') },
        { subresource: 'status' },
      );
      await eventually('the new address takes node ports', async () =>
        /elements = \{ 192\.0\.2\.11 \}/.test(await listing()),
      );
    });
  });

  it('deletes flows of UDP that went stale while it was away, and no valid one', async () => {
    const port = { name: 'dns', port: 53, protocol: 'UDP' };
    const createService = async (name: string, clusterIP: string, addresses: string[]): Promise<void> => {
      await plane.client.create(resources.services, namespace, {
        metadata: { name },
        spec: { clusterIP, ports: [port] },
      });
      await plane.client.create(resources.endpointslices, namespace, {
        metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
        addressType: 'IPv4',
        ports: [{ ...port, port: 5353 }],
        endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
      });
    };
    await createService('dns', '10.96.77.53', ['10.244.9.53']);
    await createService('empty', '10.96.77.54', []);
    const track = (to: string, sourcePort: number, answeredFrom: string) =>
      execOrThrow(network.exec, 'conntrack', [
        ...['-I', '-p', 'udp', '-s', '192.0.2.2', '-d', to, '--sport', `${sourcePort}`, '--dport', '53'],
        ...['--dst-nat', `${answeredFrom}:5353`, '-t', '600'],
      ]);
    await execOrThrow(network.exec, 'iptables', ['-t', 'nat', '-S']);
    await track('10.96.77.53', 40001, '10.244.9.53');
    await track('10.96.77.53', 40002, '10.244.9.99');
    await track('10.96.77.54', 40003, '10.244.9.98');
    await track('198.51.100.1', 40004, '198.51.100.2');
    const tracked = async (): Promise<string[]> => {
      const text = await execOrThrow(network.exec, 'conntrack', ['-L', '-p', 'udp', '-s', '192.0.2.2']);
      return [...text.matchAll(/sport=(4000\d) dport=53/g)].map(([, sport = '']) => sport).sort();
    };
    assert.deepEqual(await tracked(), ['40001', '40002', '40003', '40004']);
    await withProxy('iptables', async () => {
      await eventually('stale flows are gone', async () => `${await tracked()}` === '40001,40004', 30_000);
    });
    assert.deepEqual(await tracked(), ['40001', '40004']);
  });

  for (const mode of ['iptables', 'nftables']) {
    it(`names a service that the kernel refuses in an Event in mode ${mode}, and serves the others`, async () => {
      const names = [`bad-${mode}`, `good-${mode}`];
      const address = (index: number): string => `10.96.77.${mode === 'iptables' ? 60 + index : 70 + index}`;
      for (const [index, name] of names.entries()) {
        await plane.client.create(resources.services, namespace, {
          metadata: { name },
          spec: { type: 'LoadBalancer', clusterIP: address(index), ports: [{ name: 'p', port: 80, protocol: 'TCP' }] },
        });
        await plane.client.create(resources.endpointslices, namespace, {
          metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
          addressType: 'IPv4',
          ports: [{ name: 'p', port: 8080, protocol: 'TCP' }],
          endpoints: [{ addresses: ['10.244.9.60'], conditions: { ready: true } }],
        });
      }
      const refusing: Exec = async (file, args, options) => {
        const isRefused = String(options?.input ?? '').includes(address(0));
        if (isRefused) return { exitCode: 1, stdout: '', stderr: 'the kernel of the test refuses it' };
        return network.exec(file, args, options);
      };
      const check = async (): Promise<void> => {
        await eventually(
          'an Event names it',
          async () => {
            const { items } = await plane.client.list(resources.events, { namespace });
            return items.some((e) => e.reason === 'FailedToProgramService' && e.involvedObject.name === names[0]);
          },
          30_000,
        );
        const text = mode === 'iptables' ? await saved() : await listing();
        assert.match(text, new RegExp(`${address(1).replaceAll('.', '\\.')}\\b`));
        assert.doesNotMatch(text, new RegExp(`${address(0).replaceAll('.', '\\.')}\\b`));
      };
      await withProxy(mode, check, [], refusing);
      for (const name of names) await plane.client.delete(resources.services, { namespace, name });
    });
  }

  it('tells load balancers to go elsewhere when its node is about to go, and stays alive', async () => {
    const probe = createServer().listen(0, '127.0.0.1');
    await once(probe, 'listening');
    const address = probe.address();
    const health = typeof address === 'object' && address !== null ? address.port : assert.fail();
    probe.close();
    await once(probe, 'close');
    const status = async (path: string) => (await fetch(`http://127.0.0.1:${health}/${path}`)).status;
    const setTaints = (...keys: string[]) =>
      plane.client.patch(resources.nodes, { name: 'node' }, 'merge', {
        spec: { taints: keys.map((key) => ({ key, effect: 'NoSchedule' })) },
      });
    const draining = async () => (await status('healthz')) === 503;
    const check = async (): Promise<void> => {
      await eventually('it is healthy', async () => (await status('healthz')) === 200, 30_000);
      await setTaints('ToBeDeletedByClusterAutoscaler');
      await eventually('it drains', draining, 30_000);
      assert.equal(await status('livez'), 200);
      await setTaints();
      await eventually('it takes traffic again', async () => !(await draining()), 30_000);
      await plane.client.patch(resources.nodes, { name: 'node' }, 'merge', { metadata: { finalizers: ['a.test/b'] } });
      await plane.client.delete(resources.nodes, { name: 'node' });
      await eventually('it drains when its node is being deleted', draining, 30_000);
      await plane.client.patch(resources.nodes, { name: 'node' }, 'merge', { metadata: { finalizers: null } });
    };
    await withProxy('iptables', check, [`--healthz-bind-address=127.0.0.1:${health}`]);
  });

  it('goes back to mode iptables and leaves no nftables table', async () => {
    await withProxy('iptables', async () => {
      assert.match(await saved(), /10\.96\.77\.1\/32.*REJECT/);
      await assert.rejects(listing());
    });
  });

  for (const mode of ['iptables', 'nftables']) {
    it(`removes all rules of mode ${mode} with --cleanup, and no others`, async () => {
      await execOrThrow(network.exec, 'iptables', [
        '-t',
        'nat',
        '-A',
        'PREROUTING',
        '-d',
        '203.0.113.9',
        '-j',
        'ACCEPT',
      ]);
      await withProxy(mode, async () => undefined);
      const cli = join(import.meta.dirname, '../../../cli/main.ts');
      const args = ['proxy', '--cleanup'];
      await execOrThrow(network.exec, process.execPath, [cli, ...args], { timeoutMs: 60_000 });
      assert.doesNotMatch(await saved(), /KUBE-/);
      assert.match(await saved(), /-A PREROUTING -d 203\.0\.113\.9\/32 -j ACCEPT/);
      await assert.rejects(listing());
    });
  }
});
