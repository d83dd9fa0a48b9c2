// One service whose rules the kernel's programs refuse, among others that are fine.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import { syncIsolating } from '../../../proxy/apply/isolate-failures.ts';
import type { ServiceState } from '../../../proxy/apply/rule-applier.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import { createPacketNode } from '../../support/packet-node.ts';
import { packetState } from '../../support/packet-services.ts';

const skip = namespacesUnavailable() ?? false;
const here = { on: 'here' } as const;

describe('a service whose rules the kernel refuses', { skip, timeout: 120_000 }, () => {
  for (const mode of ['iptables', 'nftables'] as const) {
    it(`holds back no other in mode ${mode}, and is applied when it is put right`, async () => {
      await using node = await createPacketNode(mode, { isSilent: true });
      const state = (index: number, range?: string): [string, ServiceState] =>
        packetState('IPv4', range === undefined ? {} : { loadBalancerSourceRanges: [range] }, { 'pod-a': here }, index);
      const rules = async (): Promise<string> =>
        mode === 'iptables'
          ? await execOrThrow(node.exec, 'iptables-save', ['-t', 'nat'])
          : await execOrThrow(node.exec, 'nft', ['list', 'table', 'ip', 'kube-proxy']);
      const others = [1, 2, 3, 4, 5, 6, 8, 9, 10];
      const services = new Map([...others.map((index) => state(index)), state(7, '192.0.2.0/33')]);
      const { refused, applied } = await syncIsolating(node.applier('IPv4'), services);
      assert.deepEqual(
        refused.map(({ key }) => key),
        ['demo/web-7'],
      );
      assert.equal(applied.size, others.length);
      const text = await rules();
      for (const index of others) assert.match(text, new RegExp(`10\\.96\\.1\\.${index}\\b`));
      assert.doesNotMatch(text, /10\.96\.1\.7\b/);
      const { refused: none } = await syncIsolating(node.applier('IPv4'), new Map([state(7, '192.0.2.0/24')]));
      assert.deepEqual(none, []);
      assert.match(await rules(), /10\.96\.1\.7\b/);
    });
  }
});
