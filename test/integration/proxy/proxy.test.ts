// The whole proxy between a control plane and the rules of a namespace.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import * as resources from '#kube/api/generated/resources.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow } from '#kube/process/exec.ts';
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
  async function withProxy(mode: string, work: () => Promise<void>): Promise<void> {
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
    ]);
    const { exec } = network;
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

  it('goes back to mode iptables and leaves no nftables table', async () => {
    await withProxy('iptables', async () => {
      assert.match(await saved(), /10\.96\.77\.1\/32.*REJECT/);
      await assert.rejects(listing());
    });
  });
});
