// What blocks a pod is named within five seconds: by `berth explain pod`, on the agent's server and as a condition.
import assert from 'node:assert/strict';
import { rename } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { Explanation } from '../../agent/explain/explanation.ts';
import { clustersUnavailable } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import { type ProxiedCluster, startProxiedCluster } from '../support/proxied-cluster.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;
/** Five seconds are meant; a busy machine gets more. */
const limitMs = 20_000;

describe('explaining a pod', { skip, concurrency: 8 }, () => {
  let proxied: ProxiedCluster;
  const kubectl = (...args: string[]) => proxied.cluster.kubectl(...args);
  const explain = async (name: string): Promise<Explanation & { nodeName: string }> => {
    const { adminKubeconfig } = proxied.cluster.layout;
    const args = ['explain', 'pod', `default/${name}`, '-o', 'json', '--kubeconfig', adminKubeconfig];
    const { exitCode, stdout, stderr } = await proxied.cluster.berth(args);
    assert.equal(exitCode, 0, stderr);
    return JSON.parse(stdout);
  };
  const start = (name: string, spec: object, container: object = {}) =>
    proxied.cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: {
        terminationGracePeriodSeconds: 0,
        containers: [{ name: 'c', image, command: ['sleep', '3600'], ...container }],
        ...spec,
      },
    });
  /** Waits for the condition, and then asks in the other ways. */
  async function named(name: string, step: Explanation['step'], message: RegExp): Promise<Explanation> {
    const reason = `${step.charAt(0).toUpperCase()}${step.slice(1)}`;
    const path = `jsonpath={.status.conditions[?(@.type=="berth.io/Blocked")]}`;
    await eventually(
      `a condition of ${name}`,
      async () => {
        const text = await kubectl('get', 'pod', name, '-o', path);
        const found = text === '' ? undefined : (JSON.parse(text) as { reason: string; message: string });
        // On a busy machine another step may have taken its time before.
        return found?.reason === reason && message.test(found.message) ? found : undefined;
      },
      limitMs,
    );
    const told = JSON.parse(
      await kubectl('get', '--raw', `/api/v1/nodes/${proxied.nodeName}/proxy/explain/default/${name}`),
    );
    assert.equal(told.step, step);
    const explanation = await explain(name);
    assert.equal(explanation.step, step);
    assert.match(`${explanation.message} ${explanation.lastError}`, message);
    assert.ok(explanation.ageSeconds !== undefined);
    return explanation;
  }

  before(async () => {
    proxied = await startProxiedCluster();
  });
  after(async () => {
    await proxied?.[Symbol.asyncDispose]();
  });

  it('names a Secret that is missing, until it is there', async () => {
    const volumes = [{ name: 's', secret: { secretName: 'absent' } }];
    await start('no-secret', { volumes }, { volumeMounts: [{ name: 's', mountPath: '/s' }] });
    const { nextRetry } = await named('no-secret', 'volume', /secret "absent" not found/);
    assert.ok(nextRetry !== undefined);
    await kubectl('create', 'secret', 'generic', 'absent', '--from-literal=k=v');
    await kubectl('wait', '--for=condition=Ready', 'pod/no-secret', '--timeout=60s');
    assert.equal((await explain('no-secret')).step, 'none');
    const left = await kubectl('get', 'pod', 'no-secret', '-o', 'jsonpath={.status.conditions[*].type}');
    assert.doesNotMatch(left, /berth/);
  });

  it('names a probe that fails, with its last answer', async () => {
    const readinessProbe = { exec: { command: ['sh', '-c', 'echo not yet; exit 1'] }, periodSeconds: 1 };
    await start('unready', {}, { readinessProbe });
    const { container } = await named('unready', 'probe', /Readiness probe failed: not yet/);
    assert.equal(container, 'c');
  });

  it('names a container that keeps ending, and lets it be tried again at once', async () => {
    await start('crashing', {}, { command: ['sh', '-c', 'exit 3'] });
    const restarts = async () =>
      Number(await kubectl('get', 'pod', 'crashing', '-o', 'jsonpath={.status.containerStatuses[0].restartCount}'));
    await eventually('a long backoff', async () => (await restarts()) >= 2);
    const { lastError, nextRetry } = await eventually('the backoff', async () => {
      const explanation = await explain('crashing');
      return explanation.step === 'backoff' ? explanation : undefined;
    });
    assert.match(lastError ?? '', /exit code 3 \(Error\)/);
    assert.ok(Date.parse(nextRetry ?? '') > Date.now());
    const before = await restarts();
    const { stdout, exitCode } = await proxied.cluster.berth([
      'retry',
      'pod',
      'default/crashing',
      '--kubeconfig',
      proxied.cluster.layout.adminKubeconfig,
    ]);
    assert.equal(exitCode, 0);
    assert.match(stdout, /pod default\/crashing is tried again/);
    await eventually('a restart', async () => (await restarts()) > before, limitMs);
  });

  it('names a hook that does not end', async () => {
    const postStart = { exec: { command: ['sleep', '600'] } };
    await start('hooked', {}, { lifecycle: { postStart } });
    await named('hooked', 'hook', /postStart/);
  });

  it('names a pod that no node can take', async () => {
    await start('too-big', {}, { resources: { requests: { cpu: '1000' } } });
    const explanation = await eventually(
      'the verdict of the scheduler',
      async () => {
        const found = await explain('too-big');
        return found.lastError === undefined ? undefined : found;
      },
      limitMs,
    );
    assert.equal(explanation.step, 'scheduling');
    assert.match(explanation.message, /0\/1 nodes are available: 1 Insufficient cpu/);
  });

  it('names an image that comes slowly', async () => {
    const heal = proxied.proxy.inject({ call: 'PullImage', effect: 'hang' });
    await start('slow-pull', {}, { image: 'registry.invalid/slow:1' });
    await named('slow-pull', 'pull', /pulling image registry.invalid\/slow:1/);
    heal();
  });

  it('names a sandbox that cannot be made on a full disk', async () => {
    const heal = proxied.proxy.inject({
      call: 'RunPodSandbox',
      effect: 'error',
      message: 'write /run/containerd: no space left on device',
      matches: ({ config }) => (config as { metadata: { name: string } }).metadata.name === 'full-disk',
    });
    await start('full-disk', {});
    await named('full-disk', 'sandbox', /no space left on device/);
    heal();
  });

  it('answers about pods that are not there in one line', async () => {
    const { adminKubeconfig } = proxied.cluster.layout;
    for (const verb of ['explain', 'retry']) {
      const { exitCode, stderr } = await proxied.cluster.berth([verb, 'pod', 'a/b', '--kubeconfig', adminKubeconfig]);
      assert.equal(exitCode, 1);
      assert.equal(stderr, 'berth: there is no pod "b" in namespace "a"\n');
    }
  });
});

describe('explaining a pod on a node without a network', { skip }, () => {
  it('names what the network lacks', async () => {
    await using proxied = await startProxiedCluster();
    const { cluster } = proxied;
    const [node] = cluster.layout.nodes;
    assert.ok(node);
    await rename(node.cniConfDir, `${node.cniConfDir}.away`);
    const explanation = await eventually('the sandbox is what blocks', async () => {
      const name = `p-${Date.now()}`;
      const containers = [{ name: 'c', image, command: ['sleep', '60'] }];
      // The scheduler would wait for the node.
      const spec = { nodeName: node.name, containers };
      await cluster.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name }, spec });
      const found = await eventually(
        'an explanation',
        async () => {
          const path = `/api/v1/nodes/${node.name}/proxy/explain/default/${name}`;
          const told: Explanation = JSON.parse(await cluster.kubectl('get', '--raw', path));
          return told.lastError === undefined && told.step !== 'none' ? undefined : told;
        },
        limitMs,
      );
      return found.step === 'none' ? undefined : found;
    });
    assert.equal(explanation.step, 'sandbox');
    assert.match(explanation.lastError ?? '', /network|cni/i);
    await rename(`${node.cniConfDir}.away`, node.cniConfDir);
  });
});
