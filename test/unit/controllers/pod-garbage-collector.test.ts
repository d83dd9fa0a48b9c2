import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import type { ControllerContext } from '../../../control-plane-lite/controllers/controller.ts';
import {
  createPodGarbageCollector,
  selectFinished,
} from '../../../control-plane-lite/controllers/pod-garbage-collector/pod-garbage-collector.ts';
import type { SharedInformers } from '../../../control-plane-lite/controllers/shared-informers.ts';
import { fakeApiClient } from '../../support/fake-api-client.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createHandFedInformer } from '../../support/hand-fed-informer.ts';
import { node, pod, runningPod } from '../../support/objects.ts';

function collector(existing: string[]) {
  const clock = createFakeClock();
  const pods = createHandFedInformer<Pod>();
  const nodes = createHandFedInformer<Node>();
  const removed: string[] = [];
  const failed: string[] = [];
  const client = fakeApiClient({
    get: (async (_, { name }) => {
      if (!existing.includes(name)) throw failure(404, 'NotFound', `nodes "${name}" not found`);
      return node(name);
    }) as ApiClient['get'],
    patch: (async (_, { name }) => void failed.push(name)) as ApiClient['patch'],
    delete: async (_, { name }) => void removed.push(name),
  });
  const informers = { pods: pods.informer, nodes: nodes.informer } as SharedInformers;
  const logger = pino({ enabled: false });
  const recorder = { event: () => undefined, flushed: async () => undefined };
  const context: ControllerContext = { name: 'pod-garbage-collector', informers, client, recorder, clock, logger };
  const stop = new AbortController();
  const running = createPodGarbageCollector(context).run(stop.signal);
  const end = async () => {
    stop.abort();
    await clock.advance(0);
    await running;
  };
  return { clock, pods, nodes, removed, failed, end };
}

test('removes pods of a node that is gone, after a while and after asking the server', async () => {
  const { clock, pods, removed, failed, end } = collector(['hidden']);
  pods.show(runningPod('lost', '10.0.0.1', true, { spec: { nodeName: 'gone' } }));
  pods.show(runningPod('kept', '10.0.0.2', true, { spec: { nodeName: 'hidden' } }));
  await clock.advance(25_000);
  assert.deepEqual(removed, []);
  await clock.advance(40_000);
  assert.deepEqual([failed, removed], [['lost'], ['lost']]);
  await end();
});

test('leaves pods of known nodes alone', async () => {
  const { clock, pods, nodes, removed, end } = collector([]);
  nodes.show(node('n1'));
  pods.show(runningPod('kept', '10.0.0.1', true, { spec: { nodeName: 'n1' } }));
  await clock.advance(120_000);
  assert.deepEqual(removed, []);
  await end();
});

test('removes a deleted pod that no node will ever confirm', async () => {
  const { clock, pods, removed, end } = collector([]);
  pods.show(pod('never-placed', { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } }));
  await clock.advance(20_000);
  assert.deepEqual(removed, ['never-placed']);
  await end();
});

test('removes pods that are to go from a node that is out of service, unless the node is ready', async () => {
  const taints = [{ key: 'node.kubernetes.io/out-of-service', effect: 'NoExecute' }];
  const conditions = (status: string) => ({ conditions: [{ type: 'Ready', status }] });
  const { clock, pods, nodes, removed, end } = collector([]);
  nodes.show(node('off', { spec: { taints }, status: conditions('Unknown') }));
  nodes.show(node('on', { spec: { taints }, status: conditions('True') }));
  const leaving = { deletionTimestamp: '2026-01-01T00:00:00Z' };
  pods.show(runningPod('lost', '10.0.0.1', true, { metadata: leaving, spec: { nodeName: 'off' } }));
  pods.show(runningPod('staying', '10.0.0.2', true, { spec: { nodeName: 'off' } }));
  pods.show(runningPod('going', '10.0.0.3', true, { metadata: leaving, spec: { nodeName: 'on' } }));
  await clock.advance(20_000);
  assert.deepEqual(removed, ['lost']);
  await end();
});

test('of too many finished pods the oldest go', () => {
  const done = (name: string, creationTimestamp: string) =>
    pod(name, { metadata: { creationTimestamp }, status: { phase: 'Succeeded' } });
  const all = [done('b', '2026-01-02T00:00:00Z'), done('a', '2026-01-01T00:00:00Z'), runningPod('c', '10.0.0.1', true)];
  assert.deepEqual(
    selectFinished(all, 1).map(({ metadata }) => metadata.name),
    ['a'],
  );
});
