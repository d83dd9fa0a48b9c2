// A KubeSchedulerConfiguration in a whole control plane: profiles by name, gates, metrics, and what is refused.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { events, leases, pods } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { addUsableNodes } from '../../support/usable-nodes.ts';

const namespace = 'default';
const patienceMs = 60_000;
const bound = { timeout: 120_000 };
const dir = mkdtempSync(join(tmpdir(), 'scheduling-profiles-'));
let plane: TestControlPlane;

const config = `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
podInitialBackoffSeconds: 1
leaderElection:
  leaderElect: true
  resourceName: my-scheduler
profiles:
  - schedulerName: default-scheduler
  - schedulerName: packing
    plugins:
      score:
        disabled: [{ name: '*' }]
        enabled: [{ name: NodeResourcesFit, weight: 1 }]
    pluginConfig:
      - name: NodeResourcesFit
        args:
          scoringStrategy: { type: MostAllocated, resources: [{ name: cpu, weight: 1 }] }
  - schedulerName: patient
    plugins:
      postFilter:
        disabled: [{ name: DefaultPreemption }]
`;

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

before(async () => {
  plane = await startControlPlane([`--scheduler-config=${file('config.yaml', config)}`]);
  await addUsableNodes(plane, ['n1', 'n2', 'n3']);
}, bound);

after(async () => {
  await plane.stop();
  rmSync(dir, { recursive: true, force: true });
}, bound);

async function place(name: string, schedulerName: string, cpu: string, priority?: string): Promise<string> {
  const containers = [{ name: 'c', image: 'i', resources: { requests: { cpu } } }];
  const more = priority === undefined ? {} : { priorityClassName: priority };
  await plane.client.create(pods, namespace, { metadata: { name }, spec: { schedulerName, containers, ...more } });
  return eventually(
    `${name} placed`,
    async () => (await plane.client.get(pods, { namespace, name })).spec?.nodeName,
    patienceMs,
  );
}

test('each profile places its pods by its own plugins, and tells of them under its own name', bound, async () => {
  const packed: string[] = [];
  for (let index = 0; index < 4; index += 1) packed.push(await place(`packed-${index}`, 'packing', '1'));
  assert.equal(new Set(packed).size, 1);
  const spread: string[] = [];
  for (let index = 0; index < 4; index += 1) spread.push(await place(`spread-${index}`, 'default-scheduler', '1'));
  assert.ok(new Set(spread).size > 1);
  await eventually(
    'events',
    async () => {
      const { items } = await plane.client.list(events, { namespace });
      const scheduled = items.filter(({ reason }) => reason === 'Scheduled');
      const component = (name: string) =>
        scheduled.find(({ involvedObject }) => involvedObject.name === name)?.source?.component;
      return component('packed-0') === 'packing' && component('spread-0') === 'default-scheduler' ? true : undefined;
    },
    patienceMs,
  );
});

test('a profile without preemption lets nobody go', bound, async () => {
  const containers = [{ name: 'c', image: 'i', resources: { requests: { cpu: '8' } } }];
  const spec = { schedulerName: 'patient', priorityClassName: 'system-cluster-critical', containers };
  await plane.client.create(pods, 'kube-system', { metadata: { name: 'waiting' }, spec });
  const message = await eventually(
    'reason',
    async () => {
      const { status } = await plane.client.get(pods, { namespace: 'kube-system', name: 'waiting' });
      return status?.conditions?.find(({ type, reason }) => type === 'PodScheduled' && reason === 'Unschedulable')
        ?.message;
    },
    patienceMs,
  );
  assert.equal(message, '0/3 nodes are available: 3 Insufficient cpu.');
  await plane.client.delete(pods, { namespace: 'kube-system', name: 'waiting' }, { gracePeriodSeconds: 0 });
});

test('the scheduler holds the lease that its configuration names', bound, async () => {
  const lease = await plane.client.get(leases, { namespace: 'kube-system', name: 'my-scheduler' });
  assert.notEqual(lease.spec?.holderIdentity ?? '', '');
});

test('its metrics have the names of the reference', bound, async () => {
  const text = await plane.client.raw<string>({ method: 'GET', path: '/metrics' });
  for (const name of [
    'scheduler_schedule_attempts_total{result="scheduled",profile="packing"} 4',
    'scheduler_pending_pods{queue="active"}',
    'scheduler_pending_pods{queue="gated"}',
    'scheduler_scheduling_attempt_duration_seconds_bucket',
    'scheduler_scheduling_algorithm_duration_seconds_bucket',
    'scheduler_framework_extension_point_duration_seconds_bucket',
    'scheduler_pod_scheduling_attempts_bucket',
    'scheduler_pod_scheduling_sli_duration_seconds_bucket',
    'scheduler_preemption_attempts_total',
    'scheduler_preemption_victims_bucket',
    'scheduler_queue_incoming_pods_total{queue="active",event="UnscheduledPodAdd"}',
    'scheduler_cache_size{type="nodes"} 3',
  ]) {
    assert.ok(text.includes(name), name);
  }
});

test('a configuration that cannot be honoured ends the control plane with one line', bound, async () => {
  const path = file('wrong.yaml', `${config}extenders: [{ urlPrefix: "http://127.0.0.1/" }]\n`);
  const main = join(import.meta.dirname, '../../../cli/main.ts');
  const args = ['control-plane', `--scheduler-config=${path}`, `--data-dir=${dir}/data`, `--pki-dir=${dir}/pki`];
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  assert.equal(code, 1);
  assert.match(stderr, /^berth: [^\n]*wrong\.yaml: extenders are not supported[^\n]*\n$/);
});
