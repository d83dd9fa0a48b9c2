// A node that goes from one mode to another, or from kube-proxy to berth and back, under open connections.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import type { ServiceState } from '../../../proxy/apply/rule-applier.ts';
import { computeServiceState } from '../../../proxy/model/service-state.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import { recordedListing } from '../../support/nft-listing.ts';
import { addressOf, createPacketNode, families, podNames } from '../../support/packet-node.ts';
import { doorAddress, packetState } from '../../support/packet-services.ts';
import { recordedObjects, recordedSave } from '../../support/proxy-recordings.ts';

const skip = namespacesUnavailable() ?? false;
const here = { on: 'here' } as const;
const clusterIP = doorAddress('cluster IP', 'IPv4');

const recording = 'cluster-ip';
const recordedService = 'web';
const { services, slices } = recordedObjects(recording);
const web = services.find(({ metadata }) => metadata.name === recordedService) ?? assert.fail();
const webSlices = slices.filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === recordedService);
const recordedAddresses = [
  ...new Set(webSlices.flatMap(({ endpoints = [] }) => endpoints.flatMap(({ addresses }) => addresses))),
];

/** The recorded endpoints are pods of the test. */
function withPods(text: string): string {
  return recordedAddresses.reduce((changed, address, i) => {
    const pod = addressOf(podNames[i % podNames.length] ?? 'pod-a', 'IPv4');
    return changed.replaceAll(new RegExp(`\\b${address.replaceAll('.', '\\.')}\\b`, 'g'), pod);
  }, text);
}

/** What a proxy makes of the recorded service with pods of the test behind it. */
function webState(): Map<string, ServiceState> {
  const own = JSON.parse(withPods(JSON.stringify(webSlices))) as typeof webSlices;
  const state = computeServiceState(web, own, 'IPv4', { nodeName: 'node-a', zone: undefined });
  return new Map([[`${web.metadata.namespace}/${recordedService}`, state]]);
}

describe('a change of modes', { skip, timeout: 120_000 }, () => {
  it('keeps connections open, new ones find their way, and nothing of the mode before is left', async () => {
    await using node = await createPacketNode('iptables');
    for (const family of families) await node.apply(family, new Map([packetState(family, {}, { 'pod-a': here })]));
    const held = await node.places.client.hold(clusterIP.host, clusterIP.port);
    assert.match(held.greeting, /^pod-a /);
    for (const mode of ['nftables', 'iptables'] as const) {
      await node.switchTo(mode);
      assert.equal(await held.say(mode), mode);
      const [answer] = await node.places.client.ask(clusterIP.host, clusterIP.port, { timeoutMs: 10_000 });
      assert.match(answer ?? '', /^pod-a /);
      const iptables = await execOrThrow(node.exec, 'iptables-save', []);
      const nft = await execOrThrow(node.exec, 'nft', ['list', 'tables']);
      assert.equal(/KUBE-/.test(iptables), mode === 'iptables');
      assert.equal(/kube-proxy/.test(nft), mode === 'nftables');
    }
  });
});

describe('a node that changes hands', { skip, timeout: 120_000 }, () => {
  const { port } = web.spec.ports?.[0] ?? assert.fail();
  const address = web.spec.clusterIP ?? assert.fail();

  for (const mode of ['iptables', 'nftables'] as const) {
    it(`goes from kube-proxy to berth and back in mode ${mode} without breaking a connection`, async () => {
      await using node = await createPacketNode(mode);
      await using fresh = await createPacketNode(mode, { isSilent: true });
      const kubeProxy = async (): Promise<void> => {
        if (mode === 'iptables') {
          // Not every kernel can count by nfacct, and kube-proxy does without where it cannot.
          const save = recordedSave(recording, 'IPv4')
            .split('\n')
            .filter((line) => !line.includes('localhost_nps_accepted_pkts'))
            .map((line) => line.replace(/-m nfacct --nfacct-name +\S+ /, ''));
          await execOrThrow(node.exec, 'iptables-restore', [], { input: withPods(save.join('\n')) });
          return;
        }
        await node.exec('nft', ['delete', 'table', 'ip', 'kube-proxy']);
        await execOrThrow(node.exec, 'nft', ['-f', '-'], { input: withPods(recordedListing(recording)) });
      };
      const listing = async ({ exec }: typeof node): Promise<string[]> => {
        const text =
          mode === 'iptables'
            ? await execOrThrow(exec, 'iptables-save', [])
            : await execOrThrow(exec, 'nft', ['list', 'table', 'ip', 'kube-proxy']);
        // The recorded node had chains of kubelet's, too.
        const lines = text.split('\n').map((line) => line.replace(/\[\d+:\d+\]/, ''));
        return lines
          .filter((line) => /KUBE-|^\s*(chain|set|map) /.test(line) && !/KUBE-KUBELET-CANARY/.test(line))
          .sort();
      };
      const ask = async () => await node.places.client.ask(address, port, { count: 10, timeoutMs: 10_000 });

      await kubeProxy();
      const held = await node.places.client.hold(address, port);
      assert.match(held.greeting, /^pod-/);
      assert.ok((await ask()).every((answer) => answer.startsWith('pod-')));

      await node.apply('IPv4', webState());
      // Chains that went are deleted a moment after they were emptied.
      await new Promise((resolve) => setTimeout(resolve, 1100));
      await node.applier('IPv4').isIntact();
      assert.equal(await held.say('to berth'), 'to berth');
      assert.ok((await ask()).every((answer) => answer.startsWith('pod-')));
      await fresh.apply('IPv4', webState());
      assert.deepEqual(await listing(node), await listing(fresh), 'nothing of kube-proxy is left');

      await kubeProxy();
      assert.equal(await held.say('and back'), 'and back');
      assert.ok((await ask()).every((answer) => answer.startsWith('pod-')));
      await node.cleanup(mode);
      assert.deepEqual(mode === 'iptables' ? await listing(node) : [], []);
    });
  }
});
