// Liveness and readiness probes of every kind: what restarts a container, and what never does.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Probe } from '#kube/api/generated/core-v1.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { containerStatus, isReady, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { nodeProgram } from '../../support/node-program.ts';

/** How long a container must stay up to count as left alone. */
const calmMs = 8000;
const timing = { periodSeconds: 1, failureThreshold: 1 };

/** Answers 200 at /healthz until this many milliseconds after its start, then 500; 404 elsewhere. */
const httpServer = (healthyMs: number) => `
  const until = Date.now() + ${healthyMs};
  require('node:http').createServer((request, response) => {
    response.statusCode = request.url !== '/healthz' ? 404 : Date.now() < until ? 200 : 500;
    response.end(response.statusCode === 200 ? 'ok' : 'error');
  }).listen(8080);`;

/** grpc.health.v1.Health in a few lines: SERVING, on port 5000, for every service. */
const grpcServer = `
  const server = require('node:http2').createServer();
  server.on('stream', (stream, headers) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.end(Buffer.from([0, 0, 0, 0, 2, 8, 1]));
  });
  server.listen(5000);`;

describe('probes', { skip: clustersUnavailable() ?? false, concurrency: 12 }, () => {
  let node: NodeCluster;
  before(async () => {
    // Five restarts of one container would take minutes otherwise.
    const configuration = { crashLoopBackOff: { maxContainerRestartPeriod: '2s' } };
    node = await startNodeCluster({ configuration });
  });
  after(() => node?.[Symbol.asyncDispose]());

  interface ProbedContainer {
    probe: Probe;
    /** A shell script, or with `program` one for Node. */
    text: string;
    program?: boolean;
  }

  async function start(namespace: string, { probe, text, program = false }: ProbedContainer): Promise<void> {
    const { container, volumes } = program ? await nodeProgram(text) : { container: script(text), volumes: [] };
    await node.createPod(namespace, {
      name: 'probed',
      spec: { volumes, containers: [{ ...container, livenessProbe: { ...timing, ...probe } }] },
    });
  }

  async function restarts(probed: ProbedContainer, count: number): Promise<void> {
    const namespace = await node.namespace();
    await start(namespace, probed);
    let seen = 0;
    const reached = (pod: Parameters<typeof containerStatus>[0]) => {
      const now = containerStatus(pod)?.restartCount ?? 0;
      assert.ok(now >= seen, 'the restart count never decreases');
      seen = now;
      return now >= count;
    };
    await node.waitForPod(namespace, 'probed', `${count} restarts`, reached, 150_000);
  }

  async function isLeftAlone(probed: ProbedContainer): Promise<void> {
    const namespace = await node.namespace();
    await start(namespace, probed);
    await node.waitReady(namespace, 'probed');
    const until = Date.now() + calmMs;
    await node.waitForPod(namespace, 'probed', 'time passes', (pod) => {
      assert.equal(containerStatus(pod)?.restartCount, 0);
      return Date.now() > until;
    });
    assert.ok(isReady(await node.pod(namespace, 'probed')));
  }

  const catHealth = { exec: { command: ['cat', '/tmp/health'] }, initialDelaySeconds: 1 };
  it('Probing container should be restarted with a exec "cat /tmp/health" liveness probe', () =>
    restarts({ probe: catHealth, text: 'echo ok > /tmp/health; sleep 3; rm -f /tmp/health; sleep 600' }, 1));
  it('Probing container should *not* be restarted with a exec "cat /tmp/health" liveness probe', () =>
    isLeftAlone({ probe: catHealth, text: 'echo ok > /tmp/health; sleep 600' }));

  const healthz = { httpGet: { path: '/healthz', port: 8080 }, initialDelaySeconds: 2, failureThreshold: 2 };
  it('Probing container should be restarted with a /healthz http liveness probe', () =>
    restarts({ probe: healthz, text: httpServer(4000), program: true }, 1));
  it('Probing container should *not* be restarted with a /healthz http liveness probe', () =>
    isLeftAlone({ probe: healthz, text: httpServer(600_000), program: true }));
  it('Probing container should have monotonically increasing restart count', () =>
    restarts({ probe: { ...healthz, failureThreshold: 1 }, text: httpServer(3000), program: true }, 5));

  it('Probing container should *not* be restarted with a tcp:8080 liveness probe', () =>
    isLeftAlone({
      probe: { tcpSocket: { port: 8080 }, initialDelaySeconds: 1, failureThreshold: 2 },
      text: 'exec httpd -f -p 8080',
    }));

  const grpc = (port: number) => ({ grpc: { port }, initialDelaySeconds: 2, failureThreshold: 2 });
  it('Probing container should *not* be restarted with a GRPC liveness probe', () =>
    isLeftAlone({ probe: grpc(5000), text: grpcServer, program: true }));
  it('Probing container should be restarted with a GRPC liveness probe', () =>
    restarts({ probe: grpc(2333), text: grpcServer, program: true }, 1));

  it('Probing container with readiness probe should not be ready before initial delay and never restart', async () => {
    const namespace = await node.namespace();
    const initialDelaySeconds = 5;
    await node.createPod(namespace, {
      name: 'probed',
      spec: {
        containers: [
          script('exec httpd -f -p 8080', {
            readinessProbe: { tcpSocket: { port: 8080 }, initialDelaySeconds, periodSeconds: 1 },
          }),
        ],
      },
    });
    const pod = await node.waitReady(namespace, 'probed');
    const startedMs = Date.parse(containerStatus(pod)?.state?.running?.startedAt ?? '');
    const ready = pod.status?.conditions?.find(({ type }) => type === 'Ready');
    const delayMs = Date.parse(ready?.lastTransitionTime ?? '') - startedMs;
    // Both times are in whole seconds.
    assert.ok(delayMs >= initialDelaySeconds * 1000 - 1000, `ready after ${delayMs} ms`);
    assert.equal(containerStatus(pod)?.restartCount, 0);
  });

  it('Probing container with readiness probe that fails should never be ready and never restart', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'probed',
      spec: { containers: [script('sleep 600', { readinessProbe: { exec: { command: ['false'] }, ...timing } })] },
    });
    await node.waitForPod(namespace, 'probed', 'it runs', ({ status }) => status?.phase === 'Running');
    const until = Date.now() + calmMs;
    await node.waitForPod(namespace, 'probed', 'time passes', (pod) => {
      assert.ok(!isReady(pod));
      assert.equal(containerStatus(pod)?.restartCount, 0);
      return Date.now() > until;
    });
  });
});
