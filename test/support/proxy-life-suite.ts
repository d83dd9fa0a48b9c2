// What a service lives through while clients use it, in every mode: choice among endpoints, replacement of all of them,
// and a proxy that is killed at any point.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import type { ModeName } from '../../proxy/config/proxy-config.ts';
import { createPacketNode, type PacketNode, type PodName, podNames } from './packet-node.ts';
import { doorAddress, type PodState, type PodStates, packetState } from './packet-services.ts';

export interface LifeOptions {
  /** New connections per second while things change. */
  perSecond: number;
}

const here: PodState = { on: 'here' };
const threePods: PodStates = { 'pod-a': here, 'pod-b': here, 'pod-c': here };
const clusterIP = doorAddress('cluster IP', 'IPv4');

function countByPod(answers: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const answer of answers) {
    const pod = answer.split(' ')[0] ?? '';
    counts.set(pod, (counts.get(pod) ?? 0) + 1);
  }
  return counts;
}

/** Defines the tests for one mode. */
export function defineLifeTests(mode: ModeName, { perSecond }: LifeOptions): void {
  describe(`a service in mode ${mode}`, { timeout: 400_000 }, () => {
    let node: PacketNode;
    before(async () => {
      node = await createPacketNode(mode);
    });
    after(async () => {
      await node?.[Symbol.asyncDispose]();
    });
    const apply = async (spec: object, pods: PodStates) =>
      await node.apply('IPv4', new Map([packetState('IPv4', spec, pods)]));
    const ask = async (count: number, timeoutMs = 10_000) =>
      await node.places.client.ask(clusterIP.host, clusterIP.port, { count, timeoutMs, inFlight: 20 });

    it('spreads a thousand connections over its endpoints within the bounds of chance', async () => {
      await apply({}, threePods);
      const counts = countByPod(await ask(1000));
      assert.deepEqual([...counts.keys()].sort(), [...podNames], 'nobody else answers');
      const mean = 1000 / podNames.length;
      const chiSquare = [...counts.values()].reduce((sum, count) => sum + (count - mean) ** 2 / mean, 0);
      // Two degrees of freedom: beyond this once in a million runs.
      assert.ok(chiSquare < 27.6, `${[...counts]}`);
    });

    it('keeps a client with its endpoint by session affinity, also when the others change', async () => {
      const spec = { sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds: 600 } } };
      await apply(spec, threePods);
      const [first] = countByPod(await ask(1)).keys();
      assert.deepEqual([...countByPod(await ask(20)).keys()], [first]);
      const other = podNames.find((pod) => pod !== first) ?? 'pod-a';
      await apply(spec, Object.fromEntries(podNames.filter((pod) => pod !== other).map((pod) => [pod, here])));
      assert.deepEqual([...countByPod(await ask(20)).keys()], [first]);
      const without = Object.fromEntries(podNames.filter((pod) => pod !== first).map((pod) => [pod, here]));
      await apply(spec, without);
      const next = [...countByPod(await ask(20)).keys()];
      assert.equal(next.length, 1);
      assert.notEqual(next[0], first, 'an endpoint that is gone gets no more');
    });

    it('lets a client go when its affinity has expired', async () => {
      // What ipvs remembers of a client outlives its connections; it forgets those of UDP as fast as it is told to.
      const protocol = mode === 'ipvs' ? 'UDP' : 'TCP';
      if (mode === 'ipvs') await execOrThrow(node.exec, 'ipvsadm', ['--set', '0', '0', '1']);
      const { timeoutSeconds, pauseMs } =
        mode === 'ipvs' ? { timeoutSeconds: 4, pauseMs: 8000 } : { timeoutSeconds: 1, pauseMs: 2100 };
      await apply({ sessionAffinity: 'ClientIP', sessionAffinityConfig: { clientIP: { timeoutSeconds } } }, threePods);
      const { host, port } = clusterIP;
      const seen = new Set<string>();
      for (let i = 0; i < 12 && seen.size < 2; i += 1) {
        const answers = await node.places.client.ask(host, port, { protocol, timeoutMs: 10_000 });
        for (const pod of countByPod(answers).keys()) seen.add(pod);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
      }
      assert.ok(seen.size > 1, 'a client that comes back later may be sent elsewhere');
    });

    it('loses no connection while all its endpoints are replaced, again and again', async () => {
      await apply({}, { 'pod-a': here });
      await ask(5);
      const load = node.places.client.load(clusterIP.host, clusterIP.port, perSecond);
      const order: PodName[] = ['pod-b', 'pod-c', 'pod-a', 'pod-b', 'pod-c', 'pod-a'];
      let old: PodName = 'pod-a';
      for (const pod of order) {
        await apply({}, { [pod]: here, [old]: { ...here, terminating: true, serving: true } });
        await new Promise((resolve) => setTimeout(resolve, 400));
        await apply({}, { [pod]: here });
        await new Promise((resolve) => setTimeout(resolve, 400));
        old = pod;
      }
      const counts = countByPod(await load.stop());
      assert.deepEqual([...counts.keys()].sort(), [...podNames], `${[...counts]}`);
      const total = [...counts.values()].reduce((sum, count) => sum + count, 0);
      assert.ok(total > perSecond, `${total} connections were made`);
    });

    it('keeps an open connection whose endpoint is no longer wanted', async () => {
      await apply({}, { 'pod-a': here });
      const held = await node.places.client.hold(clusterIP.host, clusterIP.port);
      assert.match(held.greeting, /^pod-a /);
      await apply({}, { 'pod-b': here });
      assert.equal(
        await node.applier('IPv4').tidy?.(),
        mode === 'ipvs' ? true : undefined,
        'it waits for the connection',
      );
      assert.equal(await held.say('still here'), 'still here');
      assert.deepEqual([...countByPod(await ask(10)).keys()], ['pod-b'], 'new ones go elsewhere');
    });

    it('has no gap when the proxy is killed at any point and started again', async () => {
      await apply({}, { 'pod-a': here });
      const load = node.places.client.load(clusterIP.host, clusterIP.port, Math.min(perSecond, 50));
      const all = new Map([packetState('IPv4', {}, threePods)]);
      const extra = new Map([...all, packetState('IPv4', { externalTrafficPolicy: 'Local' }, threePods, 2)]);
      let finished = false;
      for (let programs = 0; !finished; programs += mode === 'ipvs' ? 3 : 1) {
        node.restart(mode);
        node.crashAfter(programs);
        const state = programs % 2 === 0 ? extra : all;
        finished = await node.apply('IPv4', state).then(
          () => true,
          () => false,
        );
        node.crashAfter(undefined);
      }
      node.restart(mode);
      await node.apply('IPv4', all);
      const counts = countByPod(await load.stop());
      assert.deepEqual(
        [...counts.keys()].filter((pod) => !podNames.includes(pod as PodName)),
        [],
        `${[...counts]}`,
      );
      assert.ok((await ask(30)).every((answer) => answer.startsWith('pod-')));
    });

    it('lets nobody in from outside the source ranges of a load balancer', async () => {
      const only = async (range: string) => await apply({ loadBalancerSourceRanges: [range] }, { 'pod-a': here });
      const { host, port } = doorAddress('load balancer', 'IPv4');
      const from = async (place: 'client' | 'pod-b', timeoutMs: number) =>
        (await node.places[place].ask(host, port, { timeoutMs }))[0]?.split(' ')[0];
      await only('192.0.2.2/32');
      assert.deepEqual([await from('client', 10_000), await from('pod-b', 700)], ['pod-a', 'TIMEOUT']);
      await only('10.244.2.0/24');
      assert.deepEqual([await from('client', 700), await from('pod-b', 10_000)], ['TIMEOUT', 'pod-a']);
      await only('0.0.0.0/0');
      assert.deepEqual([await from('client', 10_000), await from('pod-b', 10_000)], ['pod-a', 'pod-a']);
    });
  });
}
