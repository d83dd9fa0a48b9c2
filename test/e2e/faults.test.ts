// A runtime that hangs, fails and loses answers, over the real socket: the node stays ready, other pods start, and what
// was hit recovers by itself.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import type { CriProxy } from '../support/cri-proxy.ts';
import { clustersUnavailable } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ProxiedCluster, startProxiedCluster } from '../support/proxied-cluster.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;

function podNamed(name: string): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'c', image, command: ['sleep', '3600'] }],
    },
  };
}

describe('a node whose runtime misbehaves', { skip }, () => {
  let proxied: ProxiedCluster;
  let proxy: CriProxy;
  const kubectl = (...args: string[]) => proxied.cluster.kubectl(...args);
  const podOf = async (name: string): Promise<Pod> => JSON.parse(await kubectl('get', 'pod', name, '-o', 'json'));
  const ready = (name: string) => kubectl('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=30s');
  const start = async (name: string) => {
    await proxied.cluster.apply(podNamed(name));
    await ready(name);
  };
  const remove = (name: string) => kubectl('delete', 'pod', name, '--timeout=30s');
  const nodeIsReady = async () => {
    const node: Node = JSON.parse(await kubectl('get', 'node', proxied.nodeName, '-o', 'json'));
    return node.status?.conditions?.find(({ type }) => type === 'Ready')?.status === 'True';
  };
  const idOf = (pod: Pod) => pod.status?.containerStatuses?.[0]?.containerID?.replace('containerd://', '') ?? '';
  const isOf = (name: string) => (request: Record<string, unknown>) =>
    (request['config'] as { metadata?: { name?: string } } | undefined)?.metadata?.name === name;
  const isInPod = (name: string) => (request: Record<string, unknown>) =>
    (request['sandboxConfig'] as { metadata?: { name?: string } } | undefined)?.metadata?.name === name;

  before(async () => {
    proxied = await startProxiedCluster();
    proxy = proxied.proxy;
  });
  after(async () => {
    await proxied?.[Symbol.asyncDispose]();
  });

  it('stays ready and starts other pods while the status of one container hangs', async () => {
    await start('stuck');
    const before = await podOf('stuck');
    const heal = proxy.inject({
      call: 'ContainerStatus',
      effect: 'hang',
      matches: ({ containerId }) => containerId === idOf(before),
    });
    // The new agent has to ask for everything.
    await proxied.restartAgent();
    for (let round = 0; round < 3; round += 1) {
      await Promise.all(['one', 'two', 'three'].map((name) => start(`beside-${name}-${round}`)));
      assert.ok(await nodeIsReady());
      await sleep(5000);
    }
    assert.equal((await podOf('stuck')).metadata.uid, before.metadata.uid);
    heal();
    await eventually('the agent knows the container again', async () => {
      const { stdout } = await proxied.cluster.tryKubectl(['exec', 'stuck', '--', 'echo', 'here']);
      return stdout === 'here\n';
    });
    const now = await podOf('stuck');
    assert.equal(idOf(now), idOf(before));
    assert.equal(now.status?.containerStatuses?.[0]?.restartCount, 0);
    const made = proxy.calls.filter(({ call, request }) => call === 'RunPodSandbox' && isOf('stuck')(request));
    assert.equal(made.length, 1);
  });

  it('goes on when more calls hang than may be under way at once', async () => {
    const names = Array.from({ length: 9 }, (_, index) => `hangs-${index}`);
    const heal = names.map((name) => proxy.inject({ call: 'CreateContainer', effect: 'hang', matches: isInPod(name) }));
    await Promise.all(names.map((name) => proxied.cluster.apply(podNamed(name))));
    await start('behind-them');
    for (const end of heal) end();
    await Promise.all(names.map(ready));
  });

  it('deletes a pod whose sandbox never comes to be', async () => {
    const heal = proxy.inject({ call: 'RunPodSandbox', effect: 'hang', matches: isOf('no-sandbox') });
    await proxied.cluster.apply(podNamed('no-sandbox'));
    await eventually('the call', async () =>
      proxy.calls.some(({ call, request }) => call === 'RunPodSandbox' && isOf('no-sandbox')(request)),
    );
    await remove('no-sandbox');
    heal();
  });

  for (const call of ['RunPodSandbox', 'CreateContainer', 'StartContainer'] as const) {
    it(`starts a pod once although the answer to ${call} is lost`, async () => {
      const name = `lost-${call.toLowerCase()}`;
      let matching: ((request: Record<string, unknown>) => boolean) | undefined;
      if (call === 'RunPodSandbox') matching = isOf(name);
      if (call === 'CreateContainer') matching = isInPod(name);
      const heal = proxy.inject({ call, effect: 'drop', times: 1, ...(matching ? { matches: matching } : {}) });
      await start(name);
      heal();
      // Nothing that the lost call made stays beside what is used.
      await eventually('one running container', async () => {
        const pod = await podOf(name);
        const socket = `${proxied.cluster.layout.nodes[0]?.containerdSocket}.real`;
        const filter = `labels."io.kubernetes.pod.uid"==${pod.metadata.uid}`;
        const stdout = await execOrThrow(systemExec, 'ctr', ['-a', socket, '-n', 'k8s.io', 'containers', 'ls', filter]);
        return pod.status?.phase === 'Running' && stdout.trim().split('\n').length === 3;
      });
    });
  }

  it('takes a new attempt where a name is reserved', async () => {
    const name = 'reserved';
    const text = `failed to reserve sandbox name "x_0": name "x_0" is reserved for "0123456789abcdef"`;
    const heal = [
      proxy.inject({ call: 'RunPodSandbox', effect: 'error', message: text, times: 1, matches: isOf(name) }),
      proxy.inject({
        call: 'CreateContainer',
        effect: 'error',
        message: text.replace('sandbox', 'container'),
        times: 1,
        matches: isInPod(name),
      }),
    ];
    await start(name);
    for (const end of heal) end();
    const attempts = proxy.calls
      .filter(({ call, request }) => call === 'RunPodSandbox' && isOf(name)(request))
      .map(({ request }) => (request['config'] as { metadata: { attempt: number } }).metadata.attempt);
    assert.deepEqual(attempts, [0, 1]);
    assert.equal((await podOf(name)).status?.containerStatuses?.[0]?.restartCount, 0);
  });

  it('starts a pod anew when the process that keeps its containers is killed', async () => {
    await start('shimless');
    const before = await podOf('shimless');
    const run = proxy.calls.find(({ call, request }) => call === 'RunPodSandbox' && isOf('shimless')(request));
    const pattern = `containerd-shim-runc-v2.*-id ${run?.answer?.['podSandboxId']}`;
    process.kill(Number(await execOrThrow(systemExec, 'pgrep', ['-f', pattern])), 'SIGKILL');
    await eventually('another container', async () => {
      const pod = await podOf('shimless');
      const state = pod.status?.containerStatuses?.[0];
      return state?.ready === true && idOf(pod) !== idOf(before);
    });
    await remove('shimless');
  });

  it('survives a runtime that fails every third call or so', async () => {
    let random = 1;
    const heal = ['RunPodSandbox', 'CreateContainer', 'StartContainer', 'StopContainer', 'RemoveContainer'].map(
      (call) =>
        proxy.inject({
          call,
          effect: 'error',
          message: 'injected failure',
          matches: () => {
            random = (random * 48_271) % 2_147_483_647;
            return random % 3 === 0;
          },
        }),
    );
    const names = ['flaky-a', 'flaky-b', 'flaky-c'];
    await Promise.all(names.map((name) => proxied.cluster.apply(podNamed(name))));
    await Promise.all(names.map((name) => kubectl('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=120s')));
    for (const end of heal) end();
    await Promise.all(names.map(remove));
    assert.ok(await nodeIsReady());
  });
});
