// Devices for resource claims: which are chosen, on which nodes, and why not.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type {
  AllocationResult,
  Device,
  DeviceClaim,
  DeviceClass,
  ResourceClaim,
  ResourceSlice,
} from '#kube/api/generated/resource-v1.ts';
import { createNodeInfo } from '../../../control-plane-lite/scheduler/cache/node-info.ts';
import { type DeviceView, planDevices } from '../../../control-plane-lite/scheduler/devices/plan-devices.ts';
import { node, pod } from '../../support/objects.ts';

const driver = 'gpu.example.com';
const apiVersion = 'resource.k8s.io/v1';

function slice(
  name: string,
  nodeName: string,
  devices: Device[],
  pool: Partial<ResourceSlice['spec']['pool']> = {},
): ResourceSlice {
  const whole = { name: nodeName, generation: 1, resourceSliceCount: 1, ...pool };
  return { apiVersion, kind: 'ResourceSlice', metadata: { name }, spec: { driver, nodeName, pool: whole, devices } };
}

const gpu = (name: string, memory: string, attributes: Device['attributes'] = {}): Device => ({
  name,
  attributes: { model: { string: 'a100' }, ...attributes },
  capacity: { memory: { value: memory } },
});

function claim(name: string, devices: DeviceClaim, status: ResourceClaim['status'] = {}): ResourceClaim {
  const metadata = { name, namespace: 'default', uid: `uid-${name}` };
  return { apiVersion, kind: 'ResourceClaim', metadata, spec: { devices }, status };
}

const cel = (expression: string) => [{ cel: { expression } }];
const gpuClass: DeviceClass = {
  apiVersion,
  kind: 'DeviceClass',
  metadata: { name: 'gpu' },
  spec: { selectors: cel(`device.driver == "${driver}"`) },
};
const one = (
  exactly: Partial<NonNullable<NonNullable<DeviceClaim['requests']>[number]['exactly']>> = {},
): DeviceClaim => ({
  requests: [{ name: 'r', exactly: { deviceClassName: 'gpu', ...exactly } }],
});

function viewOf(
  claims: ResourceClaim[],
  slices: ResourceSlice[],
  given = new Map<string, AllocationResult>(),
): DeviceView {
  return {
    claims: { get: (key) => claims.find(({ metadata }) => `default/${metadata.name}` === key), list: () => claims },
    classes: { get: (name) => (name === 'gpu' ? gpuClass : undefined) },
    slices: { list: () => slices },
    given,
  };
}

const using = (...names: string[]): Pod =>
  pod('p', {
    spec: {
      containers: [],
      resourceClaims: names.map((name) => ({ name, resourceClaimName: name })),
    },
  });
const n1 = createNodeInfo(node('n1'));
const n2 = createNodeInfo(node('n2'));
const given = (device: string, on: string): AllocationResult => ({
  devices: { results: [{ request: 'r', driver, pool: on, device }] },
  nodeSelector: { nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [on] }] }] },
});

/** The devices that the pod's claims get on the node, or why none. */
function outcome(candidate: Pod, view: DeviceView, on = n1): string[] | string {
  const plan = planDevices(candidate, view);
  const refusal = plan?.problem ?? plan?.refuse(on)?.reasons[0];
  if (refusal !== undefined) return refusal;
  return (plan?.workFor(on) ?? []).flatMap(({ allocation }) =>
    (allocation?.devices?.results ?? []).map(({ request, device }) => `${request}=${device}`),
  );
}

describe('resource claims', () => {
  const slices = [
    slice('s', 'n1', [
      gpu('g0', '40Gi', { numa: { int: 0 } }),
      gpu('g1', '80Gi', { numa: { int: 1 } }),
      gpu('g2', '80Gi', { numa: { int: 1 } }),
    ]),
  ];
  const cases: [text: string, devices: DeviceClaim, expected: string[] | string][] = [
    ['get one device where they ask for one', one(), ['r=g0']],
    ['get as many as they ask for', one({ count: 2 }), ['r=g0', 'r=g1']],
    ['get all there are', one({ allocationMode: 'All' }), ['r=g0', 'r=g1', 'r=g2']],
    ['cannot get more than there are', one({ count: 4 }), 'cannot allocate all claims'],
    [
      'are selected by capacity',
      one({ selectors: cel(`device.capacity["${driver}"].memory.compareTo(quantity("64Gi")) >= 0`) }),
      ['r=g1'],
    ],
    ['are selected by attributes', one({ selectors: cel(`device.attributes["${driver}"].numa == 1`) }), ['r=g1']],
    ['need a class that is there', one({ deviceClassName: 'none' }), 'cannot allocate all claims'],
    [
      'keep constraints over their devices',
      { ...one({ count: 2 }), constraints: [{ matchAttribute: `${driver}/numa` }] },
      ['r=g1', 'r=g2'],
    ],
    [
      'take the first alternative that is there',
      {
        requests: [
          {
            name: 'r',
            firstAvailable: [
              { name: 'big', deviceClassName: 'gpu', count: 9 },
              { name: 'small', deviceClassName: 'gpu' },
            ],
          },
        ],
      },
      ['r/small=g0'],
    ],
  ];
  for (const [text, devices, expected] of cases) {
    it(text, () => assert.deepEqual(outcome(using('c'), viewOf([claim('c', devices)], slices)), expected));
  }

  it('get nothing that others have, seen or not', () => {
    const mine = claim('mine', one());
    const other = claim('other', one(), { allocation: given('g0', 'n1') });
    assert.deepEqual(outcome(using('mine'), viewOf([mine, other], slices)), ['r=g1']);
    const unseen = new Map([['default/third', given('g1', 'n1')]]);
    const third = claim('third', one());
    assert.deepEqual(outcome(using('mine'), viewOf([mine, other, third], slices, unseen)), ['r=g2']);
    assert.deepEqual(outcome(using('mine', 'third'), viewOf([mine, other, third], slices)), ['r=g1', 'r=g2']);
  });

  it('keep a pod where their devices are', () => {
    const there = claim('c', one(), { allocation: given('g0', 'n2') });
    assert.equal(outcome(using('c'), viewOf([there], slices), n1), 'resourceclaim not available on the node');
    assert.deepEqual(outcome(using('c'), viewOf([there], slices), n2), []);
  });

  it('wait for devices with taints unless they tolerate them', () => {
    const tainted = [slice('s', 'n1', [{ ...gpu('g0', '40Gi'), taints: [{ key: 'broken', effect: 'NoSchedule' }] }])];
    assert.equal(outcome(using('c'), viewOf([claim('c', one())], tainted)), 'cannot allocate all claims');
    const tolerant = one({ tolerations: [{ key: 'broken', operator: 'Exists' }] });
    assert.deepEqual(outcome(using('c'), viewOf([claim('c', tolerant)], tainted)), ['r=g0']);
  });

  it('see only the newest state of a pool, and only when it is whole', () => {
    const old = slice('old', 'n1', [gpu('gone', '1Gi')]);
    const half = slice('half', 'n1', [gpu('new', '1Gi')], { generation: 2, resourceSliceCount: 2 });
    assert.equal(outcome(using('c'), viewOf([claim('c', one())], [old, half])), 'cannot allocate all claims');
    const rest = slice('rest', 'n1', [gpu('newer', '1Gi')], { generation: 2, resourceSliceCount: 2 });
    assert.deepEqual(outcome(using('c'), viewOf([claim('c', one())], [old, half, rest])), ['r=new']);
  });

  it('are named in what a pod waits for', () => {
    assert.equal(outcome(using('c'), viewOf([], [])), 'resourceclaim "c" not found');
    const templated = pod('p', { spec: { resourceClaims: [{ name: 'c', resourceClaimTemplateName: 't' }] } });
    assert.equal(
      outcome(templated, viewOf([], [])),
      'waiting for dynamic resource controller to create the resourceclaim for pod "default/p"',
    );
    const wrong = one({ selectors: cel('device.nonsense(') });
    assert.match(
      String(outcome(using('c'), viewOf([claim('c', wrong)], slices))),
      /^CEL expression device.nonsense\(: /,
    );
    assert.equal(planDevices(pod('free'), viewOf([], [])), undefined);
  });
});
