import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MetricSpec } from '#kube/api/generated/autoscaling-v2.ts';
import { failure } from '#kube/errors/status-error.ts';
import {
  type Asked,
  proposeReplicas,
} from '../../../control-plane-lite/controllers/horizontal-pod-autoscaler/propose-replicas.ts';
import { createMetricsReader } from '../../../control-plane-lite/controllers/horizontal-pod-autoscaler/read-metrics.ts';
import { fakeApiClient } from '../../support/fake-api-client.ts';
import { runningPod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T12:00:00Z');
const pods = ['a', 'b'].map((name) => runningPod(name, '10.0.0.1', true));

/** A server that has these answers, by path without the query. */
function readerOf(answers: Record<string, object[]>) {
  const asked: string[] = [];
  const client = fakeApiClient({
    raw: (async ({ path }: { path: string }) => {
      asked.push(path);
      const items = answers[path.split('?')[0] ?? ''];
      if (items === undefined) throw failure(404, 'NotFound', 'the server could not find the requested resource');
      return { items };
    }) as never,
  });
  return { reader: createMetricsReader(client), asked };
}

function askedOf(answers: Record<string, object[]>): Asked & { paths: string[] } {
  const { reader, asked } = readerOf(answers);
  return {
    reader,
    paths: asked,
    namespace: 'ns',
    selector: 'app=web',
    found: 2,
    situation: { replicas: 2, pods, tolerance: { up: 0.1, down: 0.1 }, nowMs },
    pluralOf: async () => 'ingresses.networking.k8s.io',
  };
}

const metric = { name: 'requests', selector: { matchLabels: { verb: 'GET' } } };
const average = (averageValue: string) => ({ type: 'AverageValue', averageValue });
const custom = '/apis/custom.metrics.k8s.io/v1beta2/namespaces/ns';
const external = '/apis/external.metrics.k8s.io/v1beta1/namespaces/ns/requests';
const resources = '/apis/metrics.k8s.io/v1beta1/namespaces/ns/pods';
const described = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress', name: 'main' };
const memory: MetricSpec = { type: 'Resource', resource: { name: 'memory', target: average('100Mi') } };
const usage = (name: string, amount: string) => ({
  metadata: { name },
  timestamp: '2026-01-01T11:59:50Z',
  window: '15s',
  containers: [{ name: 'app', usage: { cpu: '1', memory: amount } }],
});

describe('what metrics ask for', () => {
  it('is told by pods', async () => {
    const value = (name: string) => ({ describedObject: { name }, timestamp: '2026-01-01T11:59:50Z', value: '30' });
    const asked = askedOf({ [`${custom}/pods/*/requests`]: [value('a'), value('b')] });
    const { replicas, statuses, fault } = await proposeReplicas(asked, [
      { type: 'Pods', pods: { metric, target: average('10') } },
    ]);
    assert.deepEqual([replicas, fault, statuses[0]?.pods?.current], [6, undefined, { averageValue: '30' }]);
    assert.match(asked.paths[0] ?? '', /labelSelector=app%3Dweb&metricLabelSelector=verb%3DGET$/);
  });

  it('is told by an object, as it is or for each pod', async () => {
    const answers = { [`${custom}/ingresses.networking.k8s.io/main/requests`]: [{ value: '40' }] };
    const object = { describedObject: described, metric };
    const whole = { type: 'Object', object: { ...object, target: { type: 'Value', value: '10' } } };
    assert.equal((await proposeReplicas(askedOf(answers), [whole])).replicas, 8);
    const shared = { type: 'Object', object: { ...object, target: average('10') } };
    const { replicas, statuses } = await proposeReplicas(askedOf(answers), [shared]);
    assert.deepEqual([replicas, statuses[0]?.object?.current], [4, { averageValue: '20' }]);
  });

  it('is told from outside, all values together', async () => {
    const answers = { [external]: [{ value: '15' }, { value: '500m' }, { value: '4500m' }] };
    const spec = { type: 'External', external: { metric, target: average('5') } };
    const { replicas, name } = await proposeReplicas(askedOf(answers), [spec]);
    assert.deepEqual([replicas, name], [4, 'external metric requests(verb=GET)']);
  });

  it('is of one container where that is asked', async () => {
    const two = {
      ...usage('a', '300Mi'),
      containers: [
        { name: 'app', usage: { memory: '300Mi' } },
        { name: 'log', usage: { memory: '900Mi' } },
      ],
    };
    const answers = { [resources]: [two, usage('b', '300Mi')] };
    const source = { name: 'memory', container: 'app', target: average('100Mi') };
    const { replicas, statuses } = await proposeReplicas(askedOf(answers), [
      { type: 'ContainerResource', containerResource: source },
    ]);
    assert.deepEqual([replicas, statuses[0]?.containerResource?.container], [6, 'app']);
  });

  it('is the most that any of them wants', async () => {
    const answers = { [resources]: [usage('a', '300Mi'), usage('b', '300Mi')], [external]: [{ value: '10' }] };
    const less = { type: 'External', external: { metric, target: average('5') } };
    const { replicas, name } = await proposeReplicas(askedOf(answers), [less, memory]);
    assert.deepEqual([replicas, name], [6, 'memory resource']);
  });

  it('may grow without one that is missing, and may not shrink', async () => {
    const missing = { type: 'External', external: { metric, target: average('5') } };
    const busy = { [resources]: [usage('a', '300Mi'), usage('b', '300Mi')] };
    const grown = await proposeReplicas(askedOf(busy), [missing, memory]);
    assert.deepEqual(
      [grown.replicas, grown.fault, grown.failures[0]?.reason],
      [6, undefined, 'FailedGetExternalMetric'],
    );
    const idle = { [resources]: [usage('a', '10Mi'), usage('b', '10Mi')] };
    const kept = await proposeReplicas(askedOf(idle), [missing, memory]);
    assert.match(
      kept.fault ?? '',
      /^invalid metrics \(1 invalid out of 2\), first error is: failed to get requests external metric: /,
    );
  });

  it('is not known of pods of which one container was not measured', async () => {
    const half = { ...usage('a', '300Mi'), containers: [{ name: 'app', usage: {} }] };
    const { fault } = await proposeReplicas(askedOf({ [resources]: [half] }), [memory]);
    assert.match(
      fault ?? '',
      /unable to get metrics for resource memory: no metrics returned from resource metrics API/,
    );
  });
});
