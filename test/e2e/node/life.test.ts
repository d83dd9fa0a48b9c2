// A container's life: hooks, init containers, ends and their messages, ephemeral containers.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Container, EphemeralContainer, Lifecycle, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import {
  busyboxImage,
  containerStatus,
  type NodeCluster,
  script,
  startNodeCluster,
} from '../../support/node-cluster.ts';
import { nodeProgram } from '../../support/node-program.ts';

/** Prints the path of every request. */
const echoServer = `
  require('node:http').createServer((request, response) => {
    console.log(request.method, request.url);
    response.end('ok');
  }).listen(8080);`;

function condition(pod: Pod, type: string) {
  return pod.status?.conditions?.find((each) => each.type === type)?.status;
}

describe("a container's life", { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster({ configuration: { crashLoopBackOff: { maxContainerRestartPeriod: '2s' } } });
  });
  after(() => node?.[Symbol.asyncDispose]());

  async function startServer(namespace: string): Promise<string> {
    const { container, volumes } = await nodeProgram(echoServer);
    await node.createPod(namespace, { name: 'handler', spec: { volumes, containers: [container] } });
    const { status } = await node.waitForPod(
      namespace,
      'handler',
      'it has an address',
      ({ status }) => status?.phase === 'Running' && (status.podIP ?? '') !== '',
    );
    const ip = status?.podIP ?? '';
    await eventually('the server answers', async () => {
      const answer = await node.cluster.fetch(`http://${ip}:8080/hello`);
      return answer.exitCode === 0;
    });
    return ip;
  }

  type Hook = (ip: string) => NonNullable<Lifecycle['postStart']>;
  const execHook =
    (message: string): Hook =>
    (ip) => ({ exec: { command: ['sh', '-c', `timeout 5 wget -q -O - 'http://${ip}:8080/echo?msg=${message}'`] } });
  const httpHook =
    (message: string): Hook =>
    (ip) => ({ httpGet: { host: ip, port: 8080, path: `/echo?msg=${message}` } });

  for (const [name, hook, when] of [
    [
      'Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart exec hook properly',
      execHook,
      'postStart',
    ],
    [
      'Container Lifecycle Hook when create a pod with lifecycle hook should execute poststart http hook properly',
      httpHook,
      'postStart',
    ],
    [
      'Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop exec hook properly',
      execHook,
      'preStop',
    ],
    [
      'Container Lifecycle Hook when create a pod with lifecycle hook should execute prestop http hook properly',
      httpHook,
      'preStop',
    ],
    ['PreStop should call prestop when killing a pod', httpHook, 'preStop'],
  ] as const) {
    it(name, async () => {
      const namespace = await node.namespace();
      const ip = await startServer(namespace);
      const lifecycle = { [when]: hook(when)(ip) };
      await node.createPod(namespace, {
        name: 'hooked',
        spec: { terminationGracePeriodSeconds: 15, containers: [script('exec sleep 600', { lifecycle })] },
      });
      await node.waitReady(namespace, 'hooked');
      const seen = async () => (await node.logs(namespace, 'handler')).includes(`GET /echo?msg=${when}\n`);
      assert.equal(await seen(), when === 'postStart');
      await node.client.delete(pods, { namespace, name: 'hooked' });
      await eventually('the request', seen);
      await node.waitGone(namespace, 'hooked');
    });
  }

  const ending = async (fields: Partial<Container>, text: string, spec: Partial<PodSpec> = {}) => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'ending',
      spec: { restartPolicy: 'Never', ...spec, containers: [script(text, fields)] },
    });
    const ended = await node.waitEnded(namespace, 'ending');
    return { phase: ended.status?.phase, terminated: containerStatus(ended)?.state?.terminated };
  };
  const terminationMessagePolicy = 'FallbackToLogsOnError' as const;

  it('Container Runtime blackbox test on terminated container should report termination message if TerminationMessagePath is set as non-root user and at a non-default path', async () => {
    const { phase, terminated } = await ending(
      {
        terminationMessagePath: '/dev/termination-custom-log',
        securityContext: { runAsUser: 1000 },
      },
      'echo -n DONE > /dev/termination-custom-log',
    );
    assert.equal(phase, 'Succeeded');
    assert.equal(terminated?.message, 'DONE');
  });
  it('Container Runtime blackbox test on terminated container should report termination message from log output if TerminationMessagePolicy FallbackToLogsOnError is set', async () => {
    const { phase, terminated } = await ending({ terminationMessagePolicy }, 'echo -n DONE; exit 1');
    assert.equal(phase, 'Failed');
    assert.equal(terminated?.message, 'DONE');
  });
  it('Container Runtime blackbox test on terminated container should report termination message as empty when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set', async () => {
    const { phase, terminated } = await ending({ terminationMessagePolicy }, 'echo DONE');
    assert.equal(phase, 'Succeeded');
    assert.equal(terminated?.message ?? '', '');
  });
  it('Container Runtime blackbox test on terminated container should report termination message from file when pod succeeds and TerminationMessagePolicy FallbackToLogsOnError is set', async () => {
    const text = 'echo DONE; echo -n OK > /dev/termination-log';
    const { phase, terminated } = await ending({ terminationMessagePolicy }, text);
    assert.equal(phase, 'Succeeded');
    assert.equal(terminated?.message, 'OK');
  });

  it('Container Runtime blackbox test when starting a container that exits should run with the expected status', async () => {
    // Exits with 1, 0 and then never again, as a file outside of the container counts.
    const count = 'f=/count/runs; n=$(cat $f 2>/dev/null || echo 0); n=$((n+1)); echo $n > $f';
    const cases = [
      { restartPolicy: 'Always', phase: 'Running', restartCount: 2, ready: true },
      { restartPolicy: 'OnFailure', phase: 'Succeeded', restartCount: 1, ready: false },
      { restartPolicy: 'Never', phase: 'Failed', restartCount: 0, ready: false },
    ] as const;
    const namespace = await node.namespace();
    await Promise.all(
      cases.map(async ({ restartPolicy, phase, restartCount, ready }) => {
        const name = `exits-${restartPolicy.toLowerCase()}`;
        await node.createPod(namespace, {
          name,
          spec: {
            restartPolicy,
            volumes: [{ name: 'count', emptyDir: {} }],
            containers: [
              script(`${count}; case $n in 1) exit 1;; 2) exit 0;; esac; exec sleep 600`, {
                volumeMounts: [{ name: 'count', mountPath: '/count' }],
              }),
            ],
          },
        });
        const pod = await node.waitForPod(
          namespace,
          name,
          `${phase} after ${restartCount} restarts`,
          (seen) => seen.status?.phase === phase && containerStatus(seen)?.restartCount === restartCount,
          90_000,
        );
        const settled = await node.waitForPod(namespace, name, `ready is ${ready}`, (seen) => {
          return (condition(seen, 'Ready') === 'True') === ready;
        });
        const { state } = containerStatus(settled) ?? {};
        assert.equal(state?.running !== undefined, ready, JSON.stringify(pod.status));
        if (!ready) assert.equal(state?.terminated?.exitCode, phase === 'Succeeded' ? 0 : 1);
        await node.client.delete(pods, { namespace, name });
        await node.waitGone(namespace, name);
      }),
    );
  });

  const steps = (...exits: number[]) =>
    exits.map((code, index) => script(`exit ${code}`, { name: `init${index + 1}` }));

  it('InitContainer should invoke init containers on a RestartNever pod', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'initialised',
      spec: { restartPolicy: 'Never', initContainers: steps(0, 0), containers: [script('exit 0')] },
    });
    const pod = await node.waitEnded(namespace, 'initialised');
    assert.equal(pod.status?.phase, 'Succeeded');
    assert.equal(condition(pod, 'Initialized'), 'True');
    const [one, two] = pod.status?.initContainerStatuses ?? [];
    assert.equal(one?.state?.terminated?.exitCode, 0);
    assert.equal(two?.state?.terminated?.exitCode, 0);
    assert.deepEqual([one?.ready, two?.ready], [true, true]);
    assert.ok((one?.state?.terminated?.finishedAt ?? '~') <= (two?.state?.terminated?.startedAt ?? ''));
  });

  it('InitContainer should invoke init containers on a RestartAlways pod', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'initialised',
      spec: { initContainers: steps(0, 0), containers: [script('exec sleep 600')] },
    });
    const pod = await node.waitReady(namespace, 'initialised');
    assert.equal(pod.status?.phase, 'Running');
    assert.equal(condition(pod, 'Initialized'), 'True');
    const codes = pod.status?.initContainerStatuses?.map(({ state }) => state?.terminated?.exitCode);
    assert.deepEqual(codes, [0, 0]);
  });

  it('InitContainer should not start app containers if init containers fail on a RestartAlways pod', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'blocked',
      spec: { initContainers: steps(1, 0), containers: [script('exec sleep 600')] },
    });
    let restarts = 0;
    const pod = await node.waitForPod(namespace, 'blocked', 'three restarts of the first', (seen) => {
      assert.equal(seen.status?.phase, 'Pending');
      assert.equal(containerStatus(seen)?.state?.running, undefined);
      assert.equal(containerStatus(seen, 'init2')?.state?.running, undefined);
      restarts = containerStatus(seen, 'init1')?.restartCount ?? 0;
      return restarts >= 3;
    });
    assert.equal(condition(pod, 'Initialized'), 'False');
    const why = pod.status?.conditions?.find(({ type }) => type === 'Initialized');
    assert.equal(why?.reason, 'ContainersNotInitialized');
    assert.equal(why?.message, 'containers with incomplete status: [init1 init2]');
    assert.ok(['PodInitializing'].includes(containerStatus(pod)?.state?.waiting?.reason ?? ''));
  });

  it('InitContainer should not start app containers and fail the pod if init containers fail on a RestartNever pod', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'blocked',
      spec: { restartPolicy: 'Never', initContainers: steps(0, 1), containers: [script('exec sleep 600')] },
    });
    const pod = await node.waitEnded(namespace, 'blocked');
    assert.equal(pod.status?.phase, 'Failed');
    assert.equal(containerStatus(pod, 'init1')?.state?.terminated?.exitCode, 0);
    assert.equal(containerStatus(pod, 'init2')?.state?.terminated?.exitCode, 1);
    assert.equal(containerStatus(pod)?.state?.waiting?.reason, 'PodInitializing');
    assert.equal(condition(pod, 'Initialized'), 'False');
  });

  const debugContainer = (name: string, text: string): EphemeralContainer => ({
    name,
    image: busyboxImage,
    command: ['sh', '-c', text],
  });
  const attachTo = (namespace: string, ephemeralContainers: EphemeralContainer[]) =>
    node.client.patch(
      pods,
      { namespace, name: 'debugged' },
      'strategic',
      { spec: { ephemeralContainers } },
      { subresource: 'ephemeralcontainers' },
    );
  const startDebugged = async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'debugged', spec: { containers: [script('exec sleep 600')] } });
    await node.waitReady(namespace, 'debugged');
    return namespace;
  };
  const runsDebugger = (namespace: string, name: string) =>
    node.waitForPod(namespace, 'debugged', `${name} runs`, (pod) => {
      return containerStatus(pod, name)?.state?.running !== undefined;
    });

  it('Ephemeral Containers will start an ephemeral container in an existing pod', async () => {
    const namespace = await startDebugged();
    await attachTo(namespace, [debugContainer('debugger', 'echo polo; exec sleep 600')]);
    const pod = await runsDebugger(namespace, 'debugger');
    assert.equal(containerStatus(pod)?.restartCount, 0);
    await eventually(
      'its log',
      async () => (await node.logs(namespace, 'debugged', 'container=debugger')) === 'polo\n',
    );
  });

  it('Ephemeral Containers should update the ephemeral containers in an existing pod', async () => {
    const namespace = await startDebugged();
    await attachTo(namespace, [debugContainer('debugger1', 'echo marco; exec sleep 600')]);
    await runsDebugger(namespace, 'debugger1');
    const path = `/api/v1/namespaces/${namespace}/pods/debugged/ephemeralcontainers`;
    const pod = await node.client.raw<Pod>({ method: 'GET', path });
    assert.deepEqual(
      pod.spec.ephemeralContainers?.map(({ name }) => name),
      ['debugger1'],
    );
    pod.spec.ephemeralContainers?.push(debugContainer('debugger2', 'echo polo; exec sleep 600'));
    await node.client.raw({ method: 'PUT', path, body: pod });
    const now = await runsDebugger(namespace, 'debugger2');
    assert.equal(now.spec.ephemeralContainers?.length, 2);
    const code = { code: 'Invalid' };
    await assert.rejects(
      node.client.raw({ method: 'PUT', path, body: { ...now, spec: { ...now.spec, ephemeralContainers: [] } } }),
      code,
    );
  });
});
