// What the settings of a proxy do to real packets: whose traffic counts as of this node's pods, what is masqueraded,
// and where node ports are.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import type { DetectLocal } from '../../../proxy/model/detect-local.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import {
  addressOf,
  createPacketNode,
  families,
  gatewayOf,
  type PacketNode,
  type PacketNodeOptions,
} from '../../support/packet-node.ts';
import { doorAddress, packetState } from '../../support/packet-services.ts';

const skip = namespacesUnavailable() ?? false;
const here = { 'pod-a': { on: 'here' } } as const;
const bounds = { timeout: 120_000 };
/** How long an answer may take on a busy machine. */
const timeoutMs = 10_000;

/** A node with one service, whose only endpoint is pod-a. */
async function startNode(mode: 'iptables' | 'nftables', options: PacketNodeOptions): Promise<PacketNode> {
  const node = await createPacketNode(mode, options);
  for (const family of families) await node.apply(family, new Map([packetState(family, {}, here)]));
  return node;
}

describe('the settings of a proxy', { skip, timeout: 400_000 }, () => {
  for (const mode of ['iptables', 'nftables'] as const) {
    const cidrs = ['10.244.0.0/16', 'fd00:244::/32'];
    const ways: [string, DetectLocal, boolean][] = [
      ['the cluster range', { mode: 'ClusterCIDR', cidrs }, true],
      ['the range of the node', { mode: 'NodeCIDR', cidrs: ['10.244.3.0/24', 'fd00:244:3::/64'] }, true],
      ['a range that is not theirs', { mode: 'NodeCIDR', cidrs: ['10.244.1.0/24', 'fd00:244:1::/64'] }, false],
      ['their bridge', { mode: 'BridgeInterface', name: 'pod-c' }, true],
      ['another bridge', { mode: 'BridgeInterface', name: 'cni0' }, false],
      ['the names of their interfaces', { mode: 'InterfaceNamePrefix', prefix: 'pod-' }, true],
      ['other names of interfaces', { mode: 'InterfaceNamePrefix', prefix: 'veth' }, false],
    ];
    it(`tell pods from others in mode ${mode}`, bounds, async () => {
      for (const [what, detectLocal, isLocal] of ways) {
        await using node = await startNode(mode, { detectLocal });
        for (const family of families) {
          const { host, port } = doorAddress('cluster IP', family);
          const own = isLocal ? addressOf('pod-c', family) : gatewayOf('pod-a', family);
          assert.deepEqual(
            await node.places['pod-c'].ask(host, port, { timeoutMs }),
            [`pod-a ${own}`],
            `by ${what}, ${family}`,
          );
          const [outside] = await node.places.client.ask(host, port, { timeoutMs });
          assert.equal(outside, `pod-a ${gatewayOf('pod-a', family)}`, `from outside, by ${what}, ${family}`);
        }
      }
    });

    it(`masquerade everything, by a bit of choice, in mode ${mode}`, bounds, async () => {
      const bit = mode === 'iptables' ? ['--iptables-masquerade-bit=20'] : [];
      await using node = await startNode(mode, { flags: ['--masquerade-all', ...bit] });
      const { host, port } = doorAddress('cluster IP', 'IPv4');
      assert.deepEqual(await node.places['pod-c'].ask(host, port, { timeoutMs }), [
        `pod-a ${gatewayOf('pod-a', 'IPv4')}`,
      ]);
      if (mode === 'iptables') {
        assert.match(
          await execOrThrow(node.exec, 'iptables-save', ['-t', 'nat']),
          /-j MARK --set-xmark 0x100000\/0x100000/,
        );
      }
    });

    it(`take node ports on the addresses that are asked for in mode ${mode}`, bounds, async () => {
      await using node = await startNode(mode, { flags: ['--nodeport-addresses=192.0.2.0/24'] });
      const { port } = doorAddress('node port', 'IPv4');
      const [answer] = await node.places.client.ask(gatewayOf('client', 'IPv4'), port, { timeoutMs });
      assert.match(answer ?? '', /^pod-a /);
      assert.deepEqual(await node.places.client.ask(gatewayOf('pod-b', 'IPv4'), port, { timeoutMs }), ['ECONNREFUSED']);
    });
  }

  it('have node ports on loopback in mode iptables, unless they are not wanted', bounds, async () => {
    const { port } = doorAddress('node port', 'IPv4');
    for (const wanted of [true, false]) {
      await using node = await startNode('iptables', { flags: [`--iptables-localhost-nodeports=${wanted}`] });
      await execOrThrow(node.exec, 'sysctl', ['-qw', 'net.ipv4.conf.all.route_localnet=1']);
      const [answer] = await node.places.node.ask('127.0.0.1', port, { timeoutMs });
      assert.match(answer ?? '', wanted ? /^pod-a / : /^ECONNREFUSED$/);
    }
  });
});
