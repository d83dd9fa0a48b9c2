// The metrics API and autoscalers on it, with nodes that say what a test wants them to.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import type { HorizontalPodAutoscalerSpec } from '#kube/api/generated/autoscaling-v2.ts';
import {
  apiservices,
  customresourcedefinitions,
  deployments,
  events,
  horizontalpodautoscalers,
  horizontalpodautoscalersAutoscalingV1,
  nodes,
} from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { type FakeMeasurements, startFakeMeasurements } from '../../support/fake-measurements.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const namespace = 'default';
const longMs = 20_000;
const mebibyte = 2 ** 20;

interface Metrics {
  kind: string;
  items: {
    metadata: { name: string; labels?: Record<string, string> };
    window: string;
    usage?: Record<string, string>;
    containers?: { name: string; usage: Record<string, string> }[];
  }[];
}

let plane: TestControlPlane;
let measured: FakeMeasurements;
const metricsPath = '/apis/metrics.k8s.io/v1beta1';
const get = async <T>(path: string, accept = 'application/json'): Promise<T> =>
  await plane.client.raw<T>({ method: 'GET', path, headers: { accept } });

before(async () => {
  plane = await startControlPlane(['--horizontal-pod-autoscaler-sync-period=1s', '--metric-resolution=1s']);
  await plane.addNode('n1');
  await eventually('the node is there', async () => plane.client.get(nodes, { name: 'n1' }));
  measured = await startFakeMeasurements(plane.client, 'n1');
  measured.use(0.5, 40 * mebibyte);
});

after(async () => {
  await plane.stop();
  await measured.close();
});

async function deploy(name: string, replicas: number): Promise<void> {
  const labels = { app: name };
  const resources = { requests: { cpu: '100m', memory: '20Mi' } };
  const containers = [{ name: 'c', image: 'i', resources }];
  await plane.client.create(deployments, namespace, {
    metadata: { name },
    spec: { replicas, selector: { matchLabels: labels }, template: { metadata: { labels }, spec: { containers } } },
  });
}

async function autoscale(name: string, spec: Partial<HorizontalPodAutoscalerSpec>): Promise<void> {
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name };
  await plane.client.create(horizontalpodautoscalers, namespace, {
    metadata: { name },
    spec: { scaleTargetRef, minReplicas: 1, maxReplicas: 4, ...spec },
  });
}

async function conditionOf(name: string, type: string, reason: string) {
  return await eventually(
    `${type} is ${reason}`,
    async () => {
      const { status } = await plane.client.get(horizontalpodautoscalers, { namespace, name });
      const found = findCondition(status?.conditions, type);
      return found?.reason === reason ? found : undefined;
    },
    longMs,
  );
}

async function replicasOf(name: string, wanted: number): Promise<void> {
  await eventually(
    `${wanted} replicas`,
    async () => {
      const { spec } = await plane.client.get(deployments, { namespace, name });
      return spec.replicas === wanted ? true : undefined;
    },
    longMs,
  );
}

const memoryUtilization = (averageUtilization: number) => [
  { type: 'Resource', resource: { name: 'memory', target: { type: 'Utilization', averageUtilization } } },
];

test('the metrics API tells what nodes and pods use, by names, labels and as tables', async () => {
  await deploy('measured', 2);
  const found = await eventually(
    'two pods are measured',
    async () => {
      const list = await get<Metrics>(`${metricsPath}/namespaces/default/pods?labelSelector=app%3Dmeasured`);
      return list.items.length === 2 ? list : undefined;
    },
    longMs,
  );
  assert.equal(found.kind, 'PodMetricsList');
  const [first] = found.items;
  assert.equal(first?.metadata.labels?.['app'], 'measured');
  assert.match(first?.window ?? '', /^(\d+m)?[\d.]+s$/);
  assert.equal(first?.containers?.[0]?.usage['memory'], '40Mi');
  assert.match(first?.containers?.[0]?.usage['cpu'] ?? '', /^(4[89]|5[0-2])\d{7}n$|^500m$/);
  const nodeList = await get<Metrics>(`${metricsPath}/nodes`);
  assert.equal(nodeList.items[0]?.usage?.['memory'], '160Mi');
  const one = await get<Metrics['items'][0]>(`${metricsPath}/namespaces/default/pods/${first?.metadata.name}`);
  assert.equal(one.metadata.name, first?.metadata.name);
  const table = await get<{ kind: string; rows: { cells: string[] }[] }>(
    `${metricsPath}/nodes`,
    'application/json;as=Table;v=v1;g=meta.k8s.io',
  );
  assert.deepEqual([table.kind, table.rows[0]?.cells[0], table.rows[0]?.cells[2]], ['Table', 'n1', '160Mi']);
  await assert.rejects(get(`${metricsPath}/namespaces/default/pods/nobody`), { code: 'NotFound' });
  await assert.rejects(get(`${metricsPath}/pods?fieldSelector=spec.nodeName%3Dx`), { code: 'BadRequest' });
});

test('an autoscaler grows a deployment to its most, tells why, and shrinks it again', async () => {
  await deploy('busy', 1);
  await autoscale('busy', {
    metrics: memoryUtilization(50),
    behavior: { scaleDown: { stabilizationWindowSeconds: 0 } },
  });
  await replicasOf('busy', 4);
  const limited = await conditionOf('busy', 'ScalingLimited', 'TooManyReplicas');
  assert.equal(limited.status, 'True');
  await conditionOf('busy', 'ScalingActive', 'ValidMetricFound');
  await eventually('the reason is told', async () => {
    const { items } = await plane.client.list(events, { namespace, fieldSelector: 'reason=SuccessfulRescale' });
    const text = 'memory resource utilization (percentage of request) above target';
    return items.some(({ message }) => message?.includes(text)) ? true : undefined;
  });
  const { status } = await plane.client.get(horizontalpodautoscalers, { namespace, name: 'busy' });
  assert.equal(status?.currentMetrics?.[0]?.resource?.current.averageUtilization, 200);
  const old = await plane.client.get(horizontalpodautoscalersAutoscalingV1, { namespace, name: 'busy' });
  assert.equal(old.status?.currentReplicas, 4);
  measured.use(0.5, 2 * mebibyte);
  await replicasOf('busy', 1);
});

test('an autoscaler without what it needs says what is missing', async () => {
  await deploy('blind', 2);
  const metric = { name: 'requests' };
  const averageValue = { type: 'AverageValue', averageValue: '10' };
  await autoscale('blind', { metrics: [{ type: 'Pods', pods: { metric, target: averageValue } }] });
  const custom = await conditionOf('blind', 'ScalingActive', 'FailedGetPodsMetric');
  assert.equal(
    custom.message,
    'the HPA was unable to compute the replica count: unable to get metric requests: unable to fetch metrics from custom metrics API: no custom metrics API (custom.metrics.k8s.io) registered',
  );
  const change = (spec: object) =>
    plane.client.patch(horizontalpodautoscalers, { namespace, name: 'blind' }, 'merge', { spec });
  await change({ metrics: [{ type: 'External', external: { metric, target: averageValue } }] });
  await conditionOf('blind', 'ScalingActive', 'FailedGetExternalMetric');
  await change({ scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name: 'nobody' } });
  const unable = await conditionOf('blind', 'AbleToScale', 'FailedGetScale');
  assert.match(unable.message ?? '', /deployments.apps "nobody" not found/);
  await plane.client.delete(horizontalpodautoscalers, { namespace, name: 'blind' });
});

test('an autoscaler keeps the bounds whatever is measured, and leaves what is switched off alone', async () => {
  await deploy('bounded', 6);
  await autoscale('bounded', { metrics: memoryUtilization(50) });
  await replicasOf('bounded', 4);
  await plane.client.patch(deployments, { namespace, name: 'bounded' }, 'merge', { spec: { replicas: 0 } });
  await conditionOf('bounded', 'ScalingActive', 'ScalingDisabled');
  await replicasOf('bounded', 0);
});

test('two autoscalers of the same pods stand still and say so', async () => {
  await deploy('torn', 1);
  await autoscale('torn', { metrics: memoryUtilization(5) });
  const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'torn' };
  await plane.client.create(horizontalpodautoscalers, namespace, {
    metadata: { name: 'torn-too' },
    spec: { scaleTargetRef, maxReplicas: 3, metrics: memoryUtilization(5) },
  });
  const ambiguous = await conditionOf('torn-too', 'ScalingActive', 'AmbiguousSelector');
  assert.match(ambiguous.message ?? '', /controlled by multiple HPAs: \[default\/torn default\/torn-too\]/);
});

test('a custom resource with a scale is scaled too', async () => {
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  const scale = {
    specReplicasPath: '.spec.size',
    statusReplicasPath: '.status.size',
    labelSelectorPath: '.status.selector',
  };
  await plane.client.create(customresourcedefinitions, undefined, {
    metadata: { name: 'farms.example.com' },
    spec: {
      group: 'example.com',
      scope: 'Namespaced',
      names: { plural: 'farms', singular: 'farm', kind: 'Farm', listKind: 'FarmList' },
      versions: [{ name: 'v1', served: true, storage: true, schema, subresources: { status: {}, scale } }],
    },
  });
  const farms = '/apis/example.com/v1/namespaces/default/farms';
  const body = { apiVersion: 'example.com/v1', kind: 'Farm', metadata: { name: 'f' }, spec: { size: 9 } };
  await eventually('farms are served', async () => plane.client.raw({ method: 'POST', path: farms, body }));
  await autoscale('farm', {
    scaleTargetRef: { apiVersion: 'example.com/v1', kind: 'Farm', name: 'f' },
    metrics: memoryUtilization(50),
  });
  await eventually('the farm has its most', async () => {
    const farm = await get<{ spec: { size: number } }>(`${farms}/f`);
    return farm.spec.size === 4 ? true : undefined;
  });
  const missing = await conditionOf('farm', 'ScalingActive', 'InvalidSelector');
  assert.match(missing.message ?? '', /missing a selector/);
});

test('an APIService that names a server takes the metrics API over, and gives it back', async () => {
  const name = 'v1beta1.metrics.k8s.io';
  const own = await plane.client.get(apiservices, { name });
  assert.equal(findCondition(own.status?.conditions, 'Available')?.reason, 'Local');
  const spec = { service: { namespace: 'kube-system', name: 'metrics-server' }, insecureSkipTLSVerify: true };
  await plane.client.patch(apiservices, { name }, 'merge', { spec });
  await eventually('the other server is asked', async () => {
    const answer = await get(`${metricsPath}/nodes`).catch((error: { code?: unknown }) => error);
    return (answer as { code?: unknown }).code === 'ServiceUnavailable' ? true : undefined;
  });
  await plane.client.delete(apiservices, { name });
  await eventually(
    'it is served here again',
    async () => {
      const list = await get<Metrics>(`${metricsPath}/nodes`);
      return list.items.length === 1 ? true : undefined;
    },
    longMs,
  );
  const back = await eventually('the APIService is back', async () => plane.client.get(apiservices, { name }));
  assert.equal(back.spec.service, undefined);
});
