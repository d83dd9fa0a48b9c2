import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import {
  computeEndpointSlices,
  type SlicePlan,
} from '../../../control-plane-lite/controllers/endpoint-slice/compute-endpoint-slices.ts';
import { computeSubsets } from '../../../control-plane-lite/controllers/endpoints/compute-endpoints.ts';
import { node, pod, runningPod, service } from '../../support/objects.ts';

const web = service('web', { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 8080 }], ipFamilies: ['IPv4'] });
const zoned = node('n1', { labels: { 'topology.kubernetes.io/zone': 'z1' } });
const nodeOf = (name: string) => (name === 'n1' ? zoned : undefined);

/** What the server would hold after the plan. */
function stored(plan: SlicePlan): EndpointSlice[] {
  const created = plan.create.map(
    (draft, index): EndpointSlice => ({
      ...draft,
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...draft.metadata, name: `${draft.metadata.generateName}${index}` },
    }),
  );
  return [...created, ...plan.update];
}

test('lists a ready pod with its node, zone and reference', () => {
  const ready = runningPod('a', '10.0.0.1', true, { spec: { nodeName: 'n1' } });
  const plan = computeEndpointSlices(web, [ready], nodeOf, []);
  assert.equal(plan.create.length, 1);
  assert.deepEqual(plan.create[0]?.endpoints, [
    {
      addresses: ['10.0.0.1'],
      conditions: { ready: true, serving: true, terminating: false },
      targetRef: { kind: 'Pod', namespace: 'default', name: 'a', uid: ready.metadata.uid },
      nodeName: 'n1',
      zone: 'z1',
    },
  ]);
  assert.deepEqual(plan.create[0]?.ports, [{ name: '', protocol: 'TCP', port: 8080 }]);
  assert.equal(plan.create[0]?.metadata.labels?.['kubernetes.io/service-name'], 'web');
  assert.equal(plan.create[0]?.metadata.ownerReferences?.[0]?.kind, 'Service');
});

test('a leaving pod serves but is not ready', () => {
  const leaving = runningPod('a', '10.0.0.1', true, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
  const plan = computeEndpointSlices(web, [leaving], nodeOf, []);
  assert.deepEqual(plan.create[0]?.endpoints?.[0]?.conditions, { ready: false, serving: true, terminating: true });
});

test('leaves out pods without an address and finished ones', () => {
  const waiting = pod('a', { status: { phase: 'Pending' } });
  const done = pod('b', { status: { phase: 'Succeeded', podIP: '10.0.0.2' } });
  assert.deepEqual(computeEndpointSlices(web, [waiting, done], nodeOf, []).create[0]?.endpoints, []);
});

test('changes nothing when nothing changed', () => {
  const ready = runningPod('a', '10.0.0.1', true);
  const slices = stored(computeEndpointSlices(web, [ready], nodeOf, []));
  assert.deepEqual(computeEndpointSlices(web, [ready], nodeOf, slices), { create: [], update: [], delete: [] });
});

test('keeps endpoints in their slice and puts new ones beside them', () => {
  const a = runningPod('a', '10.0.0.1', true);
  const b = runningPod('b', '10.0.0.2', true);
  const slices = stored(computeEndpointSlices(web, [a], nodeOf, []));
  const plan = computeEndpointSlices(web, [b, a], nodeOf, slices);
  assert.deepEqual([plan.create.length, plan.update.length, plan.delete.length], [0, 1, 0]);
  assert.deepEqual(
    plan.update[0]?.endpoints?.map(({ addresses }) => addresses[0]),
    ['10.0.0.1', '10.0.0.2'],
  );
});

test('splits 250 endpoints into slices of a hundred', () => {
  const pods = Array.from({ length: 250 }, (_, index) => runningPod(`p${index}`, `10.0.1.${index}`, true));
  const plan = computeEndpointSlices(web, pods, nodeOf, []);
  assert.deepEqual(
    plan.create.map(({ endpoints }) => endpoints?.length),
    [100, 100, 50],
  );
  const fewer = computeEndpointSlices(web, pods.slice(0, 100), nodeOf, stored(plan));
  assert.deepEqual([fewer.create.length, fewer.update.length, fewer.delete.length], [0, 0, 2]);
});

test('keeps one empty slice for a service without pods', () => {
  const slices = stored(computeEndpointSlices(web, [runningPod('a', '10.0.0.1', true)], nodeOf, []));
  const plan = computeEndpointSlices(web, [], nodeOf, slices);
  assert.deepEqual([plan.create.length, plan.delete.length], [1, 1]);
  assert.deepEqual([plan.create[0]?.endpoints, plan.create[0]?.ports], [[], []]);
});

test('pods that name their port differently get slices of their own', () => {
  const named = service('web', {
    selector: { app: 'web' },
    ports: [{ port: 80, targetPort: 'http' }],
    ipFamilies: ['IPv4'],
  });
  const on = (port: number) => ({
    spec: { containers: [{ name: 'c', image: 'i', ports: [{ name: 'http', containerPort: port }] }] },
  });
  const pods = [runningPod('a', '10.0.0.1', true, on(8080)), runningPod('b', '10.0.0.2', true, on(9090))];
  const ports = computeEndpointSlices(named, pods, nodeOf, []).create.map((slice) => slice.ports?.[0]?.port);
  assert.deepEqual(ports.sort(), [8080, 9090]);
});

test('a dual-stack service has slices of both families', () => {
  const dual = service('web', { selector: { app: 'web' }, ports: [{ port: 80 }], ipFamilies: ['IPv4', 'IPv6'] });
  const both = runningPod('a', '10.0.0.1', true, { status: { podIPs: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }] } });
  const plan = computeEndpointSlices(dual, [both], nodeOf, []);
  assert.deepEqual(
    plan.create.map(({ addressType, endpoints }) => [addressType, endpoints?.[0]?.addresses[0]]),
    [
      ['IPv4', '10.0.0.1'],
      ['IPv6', 'fd00::1'],
    ],
  );
});

test('a headless service publishes host names, and says that it is headless', () => {
  const headless = service('db', { selector: { app: 'db' }, clusterIP: 'None', publishNotReadyAddresses: true });
  const member = runningPod('db-0', '10.0.0.1', false, { spec: { hostname: 'db-0', subdomain: 'db' } });
  const slice = computeEndpointSlices(headless, [member], nodeOf, []).create[0];
  assert.equal(slice?.endpoints?.[0]?.hostname, 'db-0');
  assert.equal(slice?.endpoints?.[0]?.conditions?.ready, true);
  assert.equal(slice?.metadata.labels?.['service.kubernetes.io/headless'], '');
});

test('traffic that prefers its zone gets hints', () => {
  const close = service('web', { selector: { app: 'web' }, ports: [{ port: 80 }], trafficDistribution: 'PreferClose' });
  const ready = runningPod('a', '10.0.0.1', true, { spec: { nodeName: 'n1' } });
  const endpoint = computeEndpointSlices(close, [ready], nodeOf, []).create[0]?.endpoints?.[0];
  assert.deepEqual(endpoint?.hints, { forZones: [{ name: 'z1' }] });
});

test('Endpoints hold ready and other addresses apart, sorted', () => {
  const pods = [
    runningPod('b', '10.0.0.2', true),
    runningPod('a', '10.0.0.1', true),
    runningPod('c', '10.0.0.3', false),
  ];
  const { subsets } = computeSubsets(web, pods);
  assert.equal(subsets.length, 1);
  assert.deepEqual(
    subsets[0]?.addresses?.map(({ ip }) => ip),
    ['10.0.0.1', '10.0.0.2'],
  );
  assert.deepEqual(
    subsets[0]?.notReadyAddresses?.map(({ ip }) => ip),
    ['10.0.0.3'],
  );
  assert.deepEqual(subsets[0]?.ports, [{ port: 8080, protocol: 'TCP' }]);
});

test('Endpoints are cut off at a thousand addresses, ready ones first', () => {
  const pods = Array.from({ length: 1001 }, (_, index) =>
    runningPod(`p${index}`, `10.1.${index >> 8}.${index & 255}`, index > 0),
  );
  const { subsets, truncated } = computeSubsets(web, pods);
  assert.deepEqual([truncated, subsets[0]?.addresses?.length, subsets[0]?.notReadyAddresses], [true, 1000, undefined]);
});
