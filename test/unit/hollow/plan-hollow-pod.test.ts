// What the agents of hollow nodes do for their pods.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import { hollowNode, hollowNodeStatus, podAddress } from '../../../cli/hollow/hollow-node.ts';
import { type HollowCommandOptions, parseFleetOptions } from '../../../cli/hollow/options.ts';
import { type HollowAction, planHollowPod } from '../../../cli/hollow/plan-hollow-pod.ts';
import { type PodFields, pod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:01:00Z');
const plan = (candidate: Pod, startDelayMs = 0): HollowAction =>
  planHollowPod(candidate, { nowMs, hostIP: '198.18.0.1', podIP: '100.64.0.1', startDelayMs });
const running = (fields: PodFields = {}) =>
  pod('p', {
    ...fields,
    status: { phase: 'Running', startTime: formatTime(nowMs - 5000), conditions: [{ type: 'Ready', status: 'True' }] },
  });
const condition = (action: HollowAction, type: string) =>
  action.type === 'status' ? action.status.conditions?.find((other) => other.type === type)?.status : action.type;

describe('the agent of a hollow node', () => {
  it('lets a new pod run at once, ready and with an address', () => {
    const action = plan(pod('p'));
    assert.equal(action.type, 'status');
    if (action.type !== 'status') return;
    assert.deepEqual([action.status.phase, action.status.podIP], ['Running', '100.64.0.1']);
    assert.equal(condition(action, 'Ready'), 'True');
    assert.equal(action.status.containerStatuses?.[0]?.ready, true);
  });

  it('gives pods of the host network the address of the node', () => {
    const action = plan(pod('p', { spec: { hostNetwork: true } }));
    assert.equal(action.type === 'status' && action.status.podIP, '198.18.0.1');
  });

  it('waits as long as pods are to take', () => {
    const conditions = [{ type: 'PodScheduled', status: 'True', lastTransitionTime: formatTime(nowMs - 1000) }];
    const placed = pod('p', { status: { conditions } });
    assert.deepEqual(plan(placed, 3000), { type: 'wait', delayMs: 2000 });
    assert.equal(plan(placed, 500).type, 'status');
  });

  it('leaves a running pod alone', () => assert.deepEqual(plan(running()), { type: 'none' }));

  it('ends a pod when its annotation says so, unless its containers would be started again', () => {
    const metadata = { annotations: { 'berth.io/hollow-run-seconds': '8', 'berth.io/hollow-exit-code': '3' } };
    const job = running({ metadata, spec: { restartPolicy: 'Never' } });
    assert.deepEqual(plan(job), { type: 'wait', delayMs: 3000 });
    job.metadata.annotations = { ...metadata.annotations, 'berth.io/hollow-run-seconds': '4' };
    const action = plan(job);
    assert.equal(action.type === 'status' && action.status.phase, 'Failed');
    assert.equal(action.type === 'status' && action.status.containerStatuses?.[0]?.state?.terminated?.exitCode, 3);
    assert.deepEqual(plan(running({ metadata, spec: { restartPolicy: 'Always' } })), { type: 'none' });
  });

  it('is ready only when annotation and readiness gates allow it', () => {
    const unready = pod('p', { metadata: { annotations: { 'berth.io/hollow-ready': 'false' } } });
    assert.equal(condition(plan(unready), 'Ready'), 'False');
    const spec = { readinessGates: [{ conditionType: 'example.com/gate' }] };
    const gated = pod('p', { spec });
    assert.deepEqual([condition(plan(gated), 'Ready'), condition(plan(gated), 'ContainersReady')], ['False', 'True']);
    const open = pod('p', {
      spec,
      status: {
        phase: 'Running',
        conditions: [
          { type: 'Ready', status: 'False' },
          { type: 'example.com/gate', status: 'True' },
        ],
      },
    });
    assert.equal(condition(plan(open), 'Ready'), 'True');
  });

  it('ends a pod that is deleted, then lets it go', () => {
    const metadata = { deletionTimestamp: formatTime(nowMs) };
    const ended = plan(running({ metadata }));
    assert.equal(ended.type === 'status' && ended.status.phase, 'Succeeded');
    assert.deepEqual(plan(pod('p', { metadata, status: { phase: 'Succeeded' } })), { type: 'delete' });
    assert.deepEqual(plan(pod('p', { metadata })), { type: 'delete' });
    assert.deepEqual(plan(pod('p', { status: { phase: 'Failed' } })), { type: 'none' });
  });
});

const wanted: HollowCommandOptions = {
  nodes: 3,
  namePrefix: 'hollow',
  capacity: 'cpu=2',
  labels: 'disk=ssd',
  taint: ['hollow=yes:NoSchedule', 'other:NoExecute'],
  zones: 2,
  startDelay: '2s',
  keep: false,
};

describe('a fleet of hollow nodes', () => {
  it('has names, addresses, zones and labels of its own', () => {
    const fleet = parseFleetOptions(wanted);
    const { name, address, labels } = hollowNode(fleet, 2);
    assert.deepEqual([name, address], ['hollow-2', '198.18.0.3']);
    assert.deepEqual(
      [labels['topology.kubernetes.io/zone'], labels['disk'], labels['berth.io/hollow']],
      ['zone-0', 'ssd', 'hollow'],
    );
    assert.deepEqual(fleet.taints, [
      { key: 'hollow', value: 'yes', effect: 'NoSchedule' },
      { key: 'other', effect: 'NoExecute' },
    ]);
    assert.deepEqual([fleet.capacity['cpu'], fleet.capacity['pods'], fleet.startDelayMs], ['2', '110', 2000]);
    assert.equal(hollowNode(fleet, 16_383).address, '198.18.64.0');
    assert.deepEqual([podAddress(0, 1), podAddress(16_383, 254)], ['100.64.0.2', '100.127.255.1']);
  });

  it('keeps the times at which its conditions changed', () => {
    const fleet = parseFleetOptions(wanted);
    const node = hollowNode(fleet, 0);
    const first = hollowNodeStatus(node, fleet, undefined, nowMs);
    const second = hollowNodeStatus(node, fleet, first, nowMs + 60_000);
    const ready = second.conditions?.find(({ type }) => type === 'Ready');
    assert.equal(ready?.lastTransitionTime, formatTime(nowMs));
    assert.equal(ready?.lastHeartbeatTime, formatTime(nowMs + 60_000));
  });

  const wrong: [change: Partial<HollowCommandOptions>, expected: RegExp][] = [
    [{ nodes: 0 }, /--nodes takes a number from 1 to 16384, not 0/],
    [{ nodes: 20_000 }, /--nodes/],
    [{ namePrefix: 'No' }, /--name-prefix/],
    [{ capacity: 'cpu' }, /--capacity takes key=value/],
    [{ capacity: 'cpu=lots' }, /--capacity: cpu takes a quantity/],
    [{ labels: '=x' }, /--labels/],
    [{ taint: ['a=b:Sometimes'] }, /--taint takes KEY=VALUE:EFFECT/],
    [{ zones: 4 }, /--zones/],
    [{ startDelay: 'soon' }, /not a duration/],
  ];
  for (const [change, expected] of wrong) {
    it(`refuses ${JSON.stringify(change)} in one line`, () => {
      assert.throws(() => parseFleetOptions({ ...wanted, ...change }), { name: 'UsageError', message: expected });
    });
  }
});
