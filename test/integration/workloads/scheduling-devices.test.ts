// Devices for pods in a whole control plane: from a driver's slice over a template to an allocated claim and a pod.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { findCondition } from '#kube/api/conditions.ts';
import {
  deviceclasses,
  pods,
  resourceclaims,
  resourceclaimtemplates,
  resourceslices,
} from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { addUsableNodes } from '../../support/usable-nodes.ts';

const namespace = 'default';
const patienceMs = 60_000;
const bound = { timeout: 120_000 };
const driver = 'gpu.example.com';
let plane: TestControlPlane;

before(async () => {
  plane = await startControlPlane();
  await addUsableNodes(plane, ['n1', 'n2']);
  await plane.client.create(resourceslices, undefined, {
    metadata: { name: 'n2-gpus' },
    spec: {
      driver,
      nodeName: 'n2',
      pool: { name: 'n2', generation: 1, resourceSliceCount: 1 },
      devices: [{ name: 'gpu-0', attributes: { model: { string: 'a100' } }, capacity: { memory: { value: '40Gi' } } }],
    },
  });
  const expression = `device.driver == "${driver}" && device.attributes["${driver}"].model == "a100"`;
  await plane.client.create(deviceclasses, undefined, {
    metadata: { name: 'gpu' },
    spec: { selectors: [{ cel: { expression } }] },
  });
  await plane.client.create(resourceclaimtemplates, namespace, {
    metadata: { name: 'one-gpu' },
    spec: { spec: { devices: { requests: [{ name: 'gpu', exactly: { deviceClassName: 'gpu' } }] } } },
  });
}, bound);

after(async () => plane.stop(), bound);

async function create(name: string): Promise<void> {
  await plane.client.create(pods, namespace, {
    metadata: { name },
    spec: {
      terminationGracePeriodSeconds: 0,
      resourceClaims: [{ name: 'gpu', resourceClaimTemplateName: 'one-gpu' }],
      containers: [{ name: 'c', image: 'i', resources: { claims: [{ name: 'gpu' }] } }],
    },
  });
}

const get = (name: string) => plane.client.get(pods, { namespace, name });
const nodeOf = (name: string) => eventually(`${name} placed`, async () => (await get(name)).spec?.nodeName, patienceMs);

test('a pod gets the device of a node, and goes there', bound, async () => {
  await create('first');
  assert.equal(await nodeOf('first'), 'n2');
  const pod = await get('first');
  const claimName = pod.status?.resourceClaimStatuses?.[0]?.resourceClaimName ?? '';
  const claim = await plane.client.get(resourceclaims, { namespace, name: claimName });
  assert.deepEqual(claim.status?.allocation?.devices?.results, [
    { request: 'gpu', driver, pool: 'n2', device: 'gpu-0' },
  ]);
  assert.deepEqual(claim.status?.reservedFor, [{ resource: 'pods', name: 'first', uid: pod.metadata.uid }]);
  assert.ok(claim.metadata.finalizers?.includes('resource.kubernetes.io/delete-protection'));
});

test('another pod waits for it, says so, and gets it when the first is gone', bound, async () => {
  await create('second');
  const message = await eventually(
    'reason',
    async () => {
      const condition = findCondition((await get('second')).status?.conditions, 'PodScheduled');
      return condition?.message?.includes('cannot allocate') === true ? condition.message : undefined;
    },
    patienceMs,
  );
  assert.match(message, /^0\/2 nodes are available: 2 cannot allocate all claims\./);
  await plane.client.delete(pods, { namespace, name: 'first' }, { gracePeriodSeconds: 0 });
  assert.equal(await nodeOf('second'), 'n2');
});
