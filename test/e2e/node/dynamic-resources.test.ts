// Pods that claim devices: they wait for the driver, start when it has prepared the claim, and give it back at their end.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { pods, resourceclaims, resourceslices } from '#kube/api/generated/resources.ts';
import { startDraDriver } from '../../support/dra-driver.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { reconfigureAgent } from '../../support/reconfigure-agent.ts';

const driver = 'gadgets.tests.berth.io';

describe('dynamic resources', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  it('are prepared before a pod starts, kept over a restart of the agent, and taken back at its end', async () => {
    const namespace = await node.namespace();
    const name = 'gadget';
    await node.client.create(resourceclaims, namespace, {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'ResourceClaim',
      metadata: { name, namespace },
      spec: { devices: { requests: [{ name: 'main', exactly: { deviceClassName: 'gadgets' } }] } },
    });
    const pod = await node.createPod(namespace, {
      name: 'user',
      spec: {
        nodeName: node.nodeName,
        resourceClaims: [{ name: 'g', resourceClaimName: name }],
        containers: [script('exec sleep 600', { resources: { claims: [{ name: 'g' }] } })],
      },
    });
    const warning = (text: string) =>
      eventually(`an event with ${text}`, async () =>
        (await node.events(namespace, 'user')).some(
          ({ reason, message }) => reason === 'FailedPrepareDynamicResources' && message?.includes(text),
        ),
      );
    await warning('is not allocated');
    const status = {
      allocation: { devices: { results: [{ request: 'main', driver, pool: 'pool', device: 'device-0' }] } },
      reservedFor: [{ resource: 'pods', name: 'user', uid: pod.metadata.uid ?? '' }],
    };
    await node.client.patch(resourceclaims, { namespace, name }, 'merge', { status }, { subresource: 'status' });
    await warning(`DRA driver ${driver} is not registered`);

    const [{ kubeletDir = '' } = {}] = node.cluster.layout.nodes;
    await using plugin = await startDraDriver(driver, kubeletDir, (call) => (call === 1 ? 'not yet' : undefined));
    await node.waitReady(namespace, 'user');
    await warning('NodePrepareResources failed');
    assert.deepEqual(plugin.calls, [
      ['prepare', name],
      ['prepare', name],
    ]);
    const told = (health: string, message?: string) =>
      eventually(`${health} in the status`, async () => {
        const [status] = (await node.pod(namespace, 'user')).status?.containerStatuses ?? [];
        const expected = {
          health,
          ...(message === undefined ? {} : { message }),
          resourceID: `${driver}/claim=${uid}`,
        };
        const [shown] = status?.allocatedResourcesStatus ?? [];
        const [device] = shown?.resources ?? [];
        return shown?.name === 'claim:g' && device !== undefined && isDeepStrictEqual(device, expected);
      });
    const { uid = '' } = (await node.client.get(resourceclaims, { namespace, name })).metadata;
    await told('Healthy');
    plugin.tell('UNHEALTHY', 'too hot');
    await told('Unhealthy', 'too hot');
    await node.client.create(resourceslices, undefined, {
      apiVersion: 'resource.k8s.io/v1',
      kind: 'ResourceSlice',
      metadata: { name: 'gadgets' },
      spec: {
        driver,
        nodeName: node.nodeName,
        pool: { name: 'pool', generation: 1, resourceSliceCount: 1 },
        devices: [],
      },
    });
    await reconfigureAgent(node.cluster, {});
    await eventually(
      'slices are to be told anew after a restart',
      async () => (await node.client.list(resourceslices)).items.length === 0,
    );
    await eventually('the driver is registered again', async () => plugin.registered.length >= 2);
    await node.client.delete(pods, { namespace, name: 'user' }, { gracePeriodSeconds: 1 });
    await node.waitGone(namespace, 'user');
    await eventually('the claim is given back', async () => plugin.calls.at(-1)?.[0] === 'unprepare');
    assert.equal(plugin.calls.length, 3);
  });
});
