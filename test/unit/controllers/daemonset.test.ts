import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DaemonSet } from '#kube/api/generated/apps-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  daemonFit,
  daemonNodeOf,
  draftDaemonPod,
} from '../../../control-plane-lite/controllers/daemonset/daemon-pods.ts';
import {
  computeDaemonSetStatus,
  planDaemonSet,
} from '../../../control-plane-lite/controllers/daemonset/plan-daemonset.ts';
import { revisionHashLabel } from '../../../control-plane-lite/controllers/revisions/revisions.ts';
import { daemonSet, node, type PodFields, pod, runningPod } from '../../support/objects.ts';

const nowMs = Date.parse('2026-01-01T00:00:00Z');
const nodes = [node('n1'), node('n2'), node('n3')];

function on(nodeName: string, hash: string, ready = true, fields: PodFields = {}): Pod {
  return runningPod(`${nodeName}-${hash}`, '10.0.0.1', ready, {
    ...fields,
    metadata: {
      labels: { [revisionHashLabel]: hash },
      creationTimestamp: hash === 'old' ? '2025-01-01T00:00:00Z' : '2025-06-01T00:00:00Z',
      ...fields.metadata,
    },
    spec: { nodeName },
  });
}

function names(pods: readonly Pod[]): string[] {
  return pods.map(({ metadata }) => metadata.name).sort();
}

test('starts a pod on every node that has none', () => {
  const plan = planDaemonSet(daemonSet('d'), nodes, [on('n2', 'new')], 'new', nowMs);
  assert.deepEqual([plan.create, plan.delete], [['n1', 'n3'], []]);
});

test('keeps away from nodes that it does not tolerate or select, and leaves those that evict it', () => {
  const tainted = node('t', { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } });
  const evicting = node('e', { spec: { taints: [{ key: 'a', effect: 'NoExecute' }] } });
  assert.deepEqual(daemonFit(daemonSet('d'), tainted), { shouldRun: false, mayContinue: true });
  assert.deepEqual(daemonFit(daemonSet('d'), evicting), { shouldRun: false, mayContinue: false });
  const plan = planDaemonSet(daemonSet('d'), [tainted, evicting], [on('t', 'new'), on('e', 'new')], 'new', nowMs);
  assert.deepEqual(names(plan.delete), ['e-new']);
});

test('runs on cordoned nodes and on nodes that are not ready', () => {
  const taints = ['unschedulable', 'disk-pressure'].map((key) => ({
    key: `node.kubernetes.io/${key}`,
    effect: 'NoSchedule',
  }));
  taints.push({ key: 'node.kubernetes.io/not-ready', effect: 'NoExecute' });
  assert.equal(daemonFit(daemonSet('d'), node('n', { spec: { unschedulable: true, taints } })).shouldRun, true);
});

test('replaces a failed pod and waits for one that is leaving', () => {
  const failed = on('n1', 'new', false, { status: { phase: 'Failed' } });
  const leaving = on('n2', 'new', true, { metadata: { deletionTimestamp: '2026-01-01T00:00:00Z' } });
  const plan = planDaemonSet(daemonSet('d'), nodes.slice(0, 2), [failed, leaving], 'new', nowMs);
  assert.deepEqual([plan.create, names(plan.delete), names(plan.failed)], [[], ['n1-new'], ['n1-new']]);
});

test('keeps the oldest of two pods on one node', () => {
  const plan = planDaemonSet(daemonSet('d'), nodes.slice(0, 1), [on('n1', 'new'), on('n1', 'old')], 'new', nowMs);
  assert.deepEqual(names(plan.delete), ['n1-new']);
});

const rolling = (rollingUpdate: object): DaemonSet =>
  daemonSet('d', { updateStrategy: { type: 'RollingUpdate', rollingUpdate } });

test('updates one pod at a time, and none while another one is missing', () => {
  const all = nodes.map(({ metadata }) => on(metadata.name, 'old'));
  assert.equal(planDaemonSet(rolling({ maxUnavailable: 1 }), nodes, all, 'new', nowMs).delete.length, 1);
  const waiting = [on('n1', 'new', false), on('n2', 'old'), on('n3', 'old')];
  assert.deepEqual(planDaemonSet(rolling({ maxUnavailable: 1 }), nodes, waiting, 'new', nowMs).delete, []);
});

test('replaces outdated pods that are not available without counting them', () => {
  const broken = [on('n1', 'old', false), on('n2', 'old'), on('n3', 'old')];
  assert.deepEqual(names(planDaemonSet(rolling({ maxUnavailable: 1 }), nodes, broken, 'new', nowMs).delete), [
    'n1-old',
  ]);
});

test('a surging update starts the new pod first and takes the old one away when it is available', () => {
  const set = rolling({ maxSurge: 1, maxUnavailable: 0 });
  const all = nodes.map(({ metadata }) => on(metadata.name, 'old'));
  assert.deepEqual(planDaemonSet(set, nodes, all, 'new', nowMs).create, ['n1']);
  assert.deepEqual(planDaemonSet(set, nodes, [...all, on('n1', 'new', false)], 'new', nowMs), {
    create: [],
    delete: [],
    failed: [],
    unready: [],
  });
  const next = planDaemonSet(set, nodes, [...all, on('n1', 'new')], 'new', nowMs);
  assert.deepEqual([next.create, names(next.delete)], [['n2'], ['n1-old']]);
});

test('OnDelete leaves outdated pods to the user', () => {
  const set = daemonSet('d', { updateStrategy: { type: 'OnDelete' } });
  assert.deepEqual(planDaemonSet(set, nodes.slice(0, 1), [on('n1', 'old')], 'new', nowMs).delete, []);
});

test('a daemon pod is meant for its node before it is there', () => {
  const draft = draftDaemonPod(daemonSet('d'), 'n2', 'hash');
  assert.equal(daemonNodeOf(pod('p', { spec: draft.spec ?? {} })), 'n2');
  assert.equal(draft.metadata.labels?.[revisionHashLabel], 'hash');
});

test('counts nodes and pods in the status', () => {
  const tainted = node('n4', { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } });
  const pods = [on('n1', 'new'), on('n2', 'old', false), on('n4', 'new')];
  const status = computeDaemonSetStatus(daemonSet('d'), [...nodes, tainted], pods, 'new', nowMs);
  assert.deepEqual(status, {
    desiredNumberScheduled: 3,
    currentNumberScheduled: 2,
    numberMisscheduled: 1,
    numberReady: 1,
    updatedNumberScheduled: 1,
    numberAvailable: 1,
    numberUnavailable: 2,
    observedGeneration: 1,
  });
});
