// When containers run again: by rules of exit codes, alone or all together; and in which order they stop.
import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const data = { name: 'data', emptyDir: {} };
const mounted: Partial<Container> = { volumeMounts: [{ name: 'data', mountPath: '/data' }] };

function rule(action: string, operator: string, values: number[]): Partial<Container> {
  return { restartPolicy: 'Never', restartPolicyRules: [{ action, exitCodes: { operator, values } }] };
}

const condition = (pod: Pod, type: string) => pod.status?.conditions?.find((item) => item.type === type);

describe('restarts of containers', { skip: clustersUnavailable() ?? false, concurrency: 4 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  it('follow the rules of the container in a pod that must not restart', async () => {
    const namespace = await node.namespace();
    // The first run ends with 42, the second with 7.
    const main = script('if [ -e /data/ran ]; then exit 7; fi; touch /data/ran; exit 42', {
      ...mounted,
      ...rule('Restart', 'In', [42]),
    });
    await node.createPod(namespace, {
      name: 'rules',
      spec: { restartPolicy: 'Never', volumes: [data], containers: [main] },
    });
    const ended = await node.waitEnded(namespace, 'rules');
    assert.equal(ended.status?.phase, 'Failed');
    const status = containerStatus(ended);
    assert.equal(status?.restartCount, 1);
    assert.equal(status?.state?.terminated?.exitCode, 7);
    assert.equal(status?.lastState?.terminated?.exitCode, 42);
  });

  it('start the whole pod again in its sandbox when a rule says so', async () => {
    const namespace = await node.namespace();
    const note = (name: string, more = '') => `echo ${name} >>/data/order; ${more}`;
    await node.createPod(namespace, {
      name: 'again',
      spec: {
        restartPolicy: 'Never',
        volumes: [data],
        initContainers: [
          script(note('init'), { name: 'init', ...mounted }),
          script(note('side', 'exec sleep 3600'), { name: 'side', restartPolicy: 'Always', ...mounted }),
        ],
        containers: [
          script(note('main', 'exec sleep 3600'), {
            ...mounted,
            lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo hook >>/data/order'] } } },
          }),
          script('sleep 2; if [ -e /data/ran ]; then exec sleep 3600; fi; touch /data/ran; exit 88', {
            name: 'watcher',
            ...mounted,
            ...rule('RestartAllContainers', 'In', [88]),
          }),
        ],
      },
    });
    const first = await node.waitForPod(namespace, 'again', 'it runs', ({ status }) => status?.phase === 'Running');
    const again = await node.waitForPod(
      namespace,
      'again',
      'it ran again',
      (pod) => containerStatus(pod)?.restartCount === 1 && condition(pod, 'Ready')?.status === 'True',
    );
    for (const name of ['init', 'side', 'main', 'watcher']) {
      assert.equal(containerStatus(again, name)?.restartCount, 1, name);
    }
    assert.equal(again.status?.podIP, first.status?.podIP, 'the sandbox stays');
    assert.equal(condition(again, 'AllContainersRestarting')?.status, 'False');
    const order = (await node.shell(namespace, 'again', 'cat /data/order', 'main')).trim().split('\n');
    assert.deepEqual(order, ['init', 'side', 'main', 'init', 'side', 'main'], 'no preStop hook');
  });

  it('stop sidecars after the containers, the last first, while their hooks run at once', async () => {
    const namespace = await node.namespace();
    const note = (name: string) =>
      `trap 'echo ${name} stopped; echo ${name} >>/out/order; exit 0' TERM; while true; do sleep 0.1; done`;
    const hostPath = { path: `/tmp/berth-order-${namespace}`, type: 'DirectoryOrCreate' };
    const out: Partial<Container> = { volumeMounts: [{ name: 'out', mountPath: '/out' }] };
    const hook = { lifecycle: { preStop: { exec: { command: ['sh', '-c', 'echo hook >>/out/order'] } } } };
    const spec = {
      terminationGracePeriodSeconds: 20,
      volumes: [{ name: 'out', hostPath }],
      initContainers: [
        script(note('side1'), { name: 'side1', restartPolicy: 'Always', ...out, ...hook }),
        script(note('side2'), { name: 'side2', restartPolicy: 'Always', ...out }),
      ],
      containers: [script(`trap 'sleep 1; echo main >>/out/order; exit 0' TERM; while true; do sleep 0.1; done`, out)],
    };
    await node.createPod(namespace, { name: 'order', spec });
    await node.waitReady(namespace, 'order');
    await node.client.delete(pods, { namespace, name: 'order' }, {});
    await node.waitGone(namespace, 'order');
    const seen = await node.output(namespace, {
      spec: { volumes: [{ name: 'out', hostPath }], containers: [script('cat /out/order; rm /out/order', out)] },
    });
    await rm(hostPath.path, { recursive: true, force: true });
    assert.deepEqual(seen.trim().split('\n'), ['hook', 'main', 'side2', 'side1']);
  });

  it('give a container that fails its liveness probe the grace period of the probe', async () => {
    const namespace = await node.namespace();
    const livenessProbe = {
      exec: { command: ['false'] },
      periodSeconds: 1,
      failureThreshold: 1,
      terminationGracePeriodSeconds: 2,
    };
    await node.createPod(namespace, {
      name: 'stubborn',
      spec: {
        terminationGracePeriodSeconds: 300,
        containers: [script("trap '' TERM; while true; do sleep 0.2; done", { livenessProbe })],
      },
    });
    const restarted = await node.waitForPod(
      namespace,
      'stubborn',
      'it was killed soon',
      (pod) => (containerStatus(pod)?.restartCount ?? 0) > 0,
      30_000,
    );
    assert.equal(containerStatus(restarted)?.lastState?.terminated?.exitCode, 137);
    await node.client.delete(pods, { namespace, name: 'stubborn' }, { gracePeriodSeconds: 0 });
  });

  it('cut a deletion short when it is asked for with less time', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'slow',
      spec: {
        terminationGracePeriodSeconds: 600,
        containers: [script("trap '' TERM; while true; do sleep 0.2; done")],
      },
    });
    await node.waitReady(namespace, 'slow');
    await node.client.delete(pods, { namespace, name: 'slow' }, {});
    await node.waitForPod(namespace, 'slow', 'it ends', ({ metadata }) => metadata.deletionTimestamp !== undefined);
    await node.client.delete(pods, { namespace, name: 'slow' }, { gracePeriodSeconds: 1 });
    await node.waitGone(namespace, 'slow', 20_000);
  });

  it('take variables from a file that an init container wrote', async () => {
    const namespace = await node.namespace();
    const env = [
      { name: 'GREETING', valueFrom: { fileKeyRef: { volumeName: 'data', path: 'conf/env', key: 'TEXT' } } },
      { name: 'NONE', valueFrom: { fileKeyRef: { volumeName: 'data', path: 'none', key: 'TEXT', optional: true } } },
    ];
    const writes = script('mkdir /data/conf; echo "TEXT=\'hello there\'" >/data/conf/env', {
      name: 'writes',
      ...mounted,
    });
    const seen = await node.output(namespace, {
      spec: {
        volumes: [data],
        initContainers: [writes],
        containers: [script('echo "$GREETING"; env | grep -c ^NONE= || true', { env })],
      },
    });
    assert.deepEqual(seen.trim().split('\n'), ['hello there', '0']);
  });
});
