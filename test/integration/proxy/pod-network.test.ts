import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import { removeNodeNetwork } from '../../../proxy/index.ts';
import { eventually } from '../../support/eventually.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import {
  createPodNetworkCluster,
  families,
  nodeNames,
  type PodNetworkCluster,
  podKeys,
} from '../../support/pod-network-cluster.ts';

const skip = namespacesUnavailable() ?? false;
const patient = { timeoutMs: 10_000 };

for (const joined of ['by one link', 'by a router'] as const) {
  describe(`the pod network of nodes joined ${joined}`, { skip, timeout: 240_000 }, () => {
    let cluster: PodNetworkCluster;
    const pod = (key: string) => {
      const found = cluster.pods.get(key);
      assert.ok(found);
      return found;
    };
    const routes = async () => {
      const texts: string[] = [];
      for (const version of ['-4', '-6'])
        texts.push(await execOrThrow(cluster.nodes['node-1'].exec, 'ip', [version, 'route', 'show', 'proto', '98']));
      return texts
        .join('')
        .trim()
        .split('\n')
        .filter((line) => line !== '');
    };
    before(async () => {
      cluster = await createPodNetworkCluster({ joined });
    });
    after(async () => {
      await cluster?.[Symbol.asyncDispose]();
    });

    it('lets every pod reach every other under its own address, in both families', async () => {
      const asked = podKeys.flatMap((from) =>
        podKeys.flatMap((to) => families.map((family) => ({ from, to, family }))),
      );
      const seen = await Promise.all(
        asked.map(async ({ from, to, family }) => {
          const answers = await pod(from).place.ask(pod(to).addresses[family], 80, patient);
          return `${from} to ${to} by ${family}: ${answers}`;
        }),
      );
      assert.deepEqual(
        seen,
        asked.map(({ from, to, family }) => `${from} to ${to} by ${family}: ${to} ${pod(from).addresses[family]}`),
      );
    });

    it('lets nodes reach the pods of each, and pods the nodes', async () => {
      for (const family of families) {
        for (const name of nodeNames) {
          const { place } = cluster.nodes[name];
          for (const key of ['x/a', 'z/a']) {
            const [answer = ''] = await place.ask(pod(key).addresses[family], 80, patient);
            assert.match(answer, new RegExp(`^${key} `), `${name} to ${key} by ${family}`);
          }
        }
      }
    });

    it('masquerades what leaves the cluster', async () => {
      for (const family of families) {
        const [answer] = await pod('x/a').place.ask(cluster.client.addresses[family], 80, patient);
        assert.equal(answer, `client ${cluster.nodes['node-1'].addresses[family]}`);
      }
    });

    it('gives pods the largest size that reaches the other node whole', async () => {
      const mtu = joined === 'by one link' ? 1500 : 1450;
      const link = await execOrThrow(pod('x/a').namespace.exec, 'ip', ['link', 'show', 'eth0']);
      assert.match(link, new RegExp(` mtu ${mtu} `));
      // The kernel forbids routers to split datagrams. Headers of IPv4 and UDP take 28 bytes, those of IPv6 and UDP 48.
      for (const [family, header] of [
        ['IPv4', 28],
        ['IPv6', 48],
      ] as const) {
        const whole = { protocol: 'UDP', bytes: mtu - header, ...patient } as const;
        const [answer] = await pod('x/a').place.ask(pod('z/a').addresses[family], 80, whole);
        assert.equal(answer, `z/a ${pod('x/a').addresses[family]}`);
      }
    });

    it('opens ports of the node for a pod that wants them', async () => {
      const served = await cluster.addPod('x/host-port', 'node-1', [8888]);
      for (const family of families) {
        const [answer = ''] = await cluster.client.place.ask(cluster.nodes['node-1'].addresses[family], 8888, patient);
        assert.match(answer, new RegExp(`^${served.key} `), family);
      }
    });

    it('changes nothing when it runs again, and lets connections live while it is away', async () => {
      const { exec, stop, start } = cluster.nodes['node-1'];
      const held = await pod('x/a').place.hold(pod('z/a').addresses.IPv4, 80);
      assert.match(held.greeting, /^z\/a /);
      const state = async () => {
        const rules = await execOrThrow(exec, 'iptables-save', []);
        const tunnel = await execOrThrow(exec, 'ip', ['-d', 'link', 'show', 'type', 'vxlan']);
        // Of tables the order and the counters are no matter.
        return [tunnel, ...(await routes()).sort(), ...rules.split('\n').filter((line) => line.startsWith('-A'))];
      };
      const before = await state();
      await stop();
      assert.equal(await held.say('one\n'), 'one');
      start();
      // A second node's change is applied after the start's own comparison.
      cluster.nodeInformer.show({
        ...cluster.nodes['node-2'].object,
        metadata: { name: 'node-3' },
        spec: { podCIDRs: ['10.244.3.0/24'] },
        status: { addresses: [{ type: 'InternalIP', address: '192.0.2.13' }] },
      });
      await eventually('a route to node-3', async () =>
        (await routes()).some((line) => line.startsWith('10.244.3.0/24')),
      );
      cluster.nodeInformer.remove({ ...cluster.nodes['node-2'].object, metadata: { name: 'node-3' } });
      await eventually(
        'no route to node-3',
        async () => !(await routes()).some((line) => line.startsWith('10.244.3.0/24')),
      );
      assert.deepEqual(await state(), before);
      assert.equal(await held.say('two\n'), 'two');
    });

    it('forgets a node that goes, and leaves routes of others alone', async () => {
      const { exec } = cluster.nodes['node-1'];
      await execOrThrow(exec, 'ip', ['route', 'add', '10.250.0.0/24', 'dev', 'eth0', 'proto', 'static']);
      cluster.nodeInformer.remove(cluster.nodes['node-2'].object);
      await eventually('no routes', async () => (await routes()).length === 0);
      assert.notEqual(await execOrThrow(exec, 'ip', ['route', 'show', '10.250.0.0/24']), '');
      if (joined === 'by a router') {
        await eventually('no tunnel', async () => {
          return (await execOrThrow(exec, 'ip', ['link', 'show', 'type', 'vxlan'])).trim() === '';
        });
      }
      cluster.nodeInformer.show(cluster.nodes['node-2'].object);
      await eventually('routes again', async () => (await routes()).length === 2);
      const [answer] = await pod('x/a').place.ask(pod('z/a').addresses.IPv4, 80, patient);
      assert.equal(answer, `z/a ${pod('x/a').addresses.IPv4}`);
    });

    it('is removed without a trace, and without touching what is not its own', async () => {
      const { exec, stop, cniConfDir } = cluster.nodes['node-2'];
      await stop();
      await execOrThrow(exec, 'iptables', ['-w', '5', '-A', 'FORWARD', '-s', '198.18.0.1', '-j', 'ACCEPT']);
      await removeNodeNetwork(exec, cniConfDir);
      await removeNodeNetwork(exec, cniConfDir);
      const rules = await execOrThrow(exec, 'iptables-save', []);
      assert.doesNotMatch(rules, /BERTH/);
      assert.match(rules, /198\.18\.0\.1/);
      assert.doesNotMatch(await execOrThrow(exec, 'ip6tables-save', []), /BERTH/);
      assert.equal((await execOrThrow(exec, 'ip', ['link', 'show', 'type', 'vxlan'])).trim(), '');
      // Pods still hang on the bridge.
      assert.match(await execOrThrow(exec, 'ip', ['link', 'show', 'type', 'bridge']), /pods0/);
    });
  });
}
