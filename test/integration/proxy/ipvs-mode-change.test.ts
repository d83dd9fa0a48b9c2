// A node that goes to mode ipvs and back under an open connection, in a kernel that has it.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import { createPacketNode, families } from '../../support/packet-node.ts';
import { doorAddress, doors, packetState } from '../../support/packet-services.ts';
import { describeInUml } from '../../support/uml-tests.ts';

describeInUml('changes to mode ipvs, in user-mode Linux', import.meta.filename, 300_000, () => {
  it('keeps connections open on the way to ipvs, serves all ways in after each change, and leaves nothing of the other mode', {
    timeout: 280_000,
  }, async () => {
    await using node = await createPacketNode('iptables');
    for (const family of families) {
      await node.apply(family, new Map([packetState(family, {}, { 'pod-a': { on: 'here' } })]));
    }
    const { host, port } = doorAddress('cluster IP', 'IPv4');
    const check = async (): Promise<void> => {
      for (const family of families) {
        for (const door of doors) {
          const address = doorAddress(door, family);
          const [answer] = await node.places.client.ask(address.host, address.port, { timeoutMs: 15_000 });
          assert.match(answer ?? '', /^pod-a /, `${door} ${family}`);
        }
      }
    };
    const saved = async (): Promise<string> =>
      `${await execOrThrow(node.exec, 'iptables-save', [])}${await execOrThrow(node.exec, 'ip6tables-save', [])}`;
    await check();
    const held = await node.places.client.hold(host, port);
    assert.match(held.greeting, /^pod-a /);

    await node.switchTo('ipvs');
    assert.equal(await held.say('to ipvs'), 'to ipvs');
    await check();
    assert.doesNotMatch(await saved(), /KUBE-(SVC-|SEP-|EXT-|NODEPORTS|EXTERNAL-SERVICES|PROXY-CANARY)/);

    await node.switchTo('iptables');
    await check();
    assert.equal(await held.say('and back'), 'and back', 'it never went through a virtual server');
    assert.doesNotMatch(await saved(), /match-set|KUBE-IPVS|KUBE-LOAD-BALANCER|KUBE-NODE-PORT\b/);
    assert.equal(await execOrThrow(node.exec, 'ipvsadm', ['-S', '-n']), '');
    assert.equal(await execOrThrow(node.exec, 'ipset', ['list', '-n']), '');
    assert.notEqual((await node.exec('ip', ['link', 'show', 'kube-ipvs0'])).exitCode, 0);
  });
});
