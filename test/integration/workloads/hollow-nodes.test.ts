// `berth hollow` against a whole control plane: its nodes take pods, run and end them, and are gone with Ctrl-C.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { isConditionTrue } from '#kube/api/conditions.ts';
import { deployments, jobs, nodes, pods } from '#kube/api/generated/resources.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';

const patienceMs = 60_000;
const root = join(import.meta.dirname, '../../..');
const bound = { timeout: 120_000 };
let plane: TestControlPlane;
let fleet: ChildProcess;
let said = '';

function berth(...args: string[]): ChildProcess {
  return spawn(process.execPath, [join(root, 'cli/main.ts'), ...args, `--kubeconfig=${plane.kubeconfig}`], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function outcome(child: ChildProcess): Promise<{ code: number | null; stderr: string }> {
  let stderr = '';
  child.stderr?.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stderr };
}

before(async () => {
  plane = await startControlPlane();
  fleet = berth('hollow', '--nodes=20', '--zones=2', '--capacity=cpu=4');
  fleet.stdout?.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
}, bound);

after(async () => {
  fleet.kill('SIGKILL');
  await plane.stop();
}, bound);

const labels = { app: 'web' };
const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i' }] } };

test('hollow nodes register and are ready', bound, async () => {
  await eventually(
    'nodes',
    async () => {
      const { items } = await plane.client.list(nodes);
      return items.length === 20 && items.every(({ status }) => isConditionTrue(status?.conditions, 'Ready'))
        ? true
        : undefined;
    },
    patienceMs,
  );
  await eventually(
    'a line that says so',
    async () => (/20 hollow nodes are registered/.test(said) ? true : undefined),
    patienceMs,
  );
});

test('pods run on them, spread evenly, each with an address', bound, async () => {
  await plane.client.create(deployments, 'default', {
    metadata: { name: 'web' },
    spec: { replicas: 40, selector: { matchLabels: labels }, template },
  });
  const running = await eventually(
    'pods',
    async () => {
      const { items } = await plane.client.list(pods, { namespace: 'default', labelSelector: 'app=web' });
      return items.length === 40 && items.every(({ status }) => isConditionTrue(status?.conditions, 'Ready'))
        ? items
        : undefined;
    },
    patienceMs,
  );
  assert.equal(new Set(running.map(({ status }) => status?.podIP)).size, 40);
  const counts = new Map<string, number>();
  for (const { spec } of running) counts.set(spec?.nodeName ?? '', (counts.get(spec?.nodeName ?? '') ?? 0) + 1);
  assert.deepEqual([counts.size, Math.max(...counts.values())], [20, 2]);
});

test('a pod of a job ends when its annotation says so', bound, async () => {
  const annotations = { 'berth.io/hollow-run-seconds': '1' };
  await plane.client.create(jobs, 'default', {
    metadata: { name: 'short' },
    spec: { template: { metadata: { annotations }, spec: { ...template.spec, restartPolicy: 'Never' } } },
  });
  await eventually(
    'job complete',
    async () => {
      const { status } = await plane.client.get(jobs, { namespace: 'default', name: 'short' });
      return isConditionTrue(status?.conditions, 'Complete') ? true : undefined;
    },
    patienceMs,
  );
});

test('deleted pods are gone', bound, async () => {
  await plane.client.delete(deployments, { namespace: 'default', name: 'web' }, { propagationPolicy: 'Background' });
  await eventually(
    'pods gone',
    async () => {
      const { items } = await plane.client.list(pods, { namespace: 'default', labelSelector: 'app=web' });
      return items.length === 0 ? true : undefined;
    },
    patienceMs,
  );
});

test('nodes that others have made are not taken over, and wrong use is one line', bound, async () => {
  await plane.client.create(nodes, undefined, { metadata: { name: 'real-0' }, spec: {} });
  const taken = await outcome(berth('hollow', '--nodes=1', '--name-prefix=real'));
  assert.equal(taken.code, 1);
  assert.match(taken.stderr, /^berth: node real-0 is there and is not hollow: [^\n]*\n$/);
  const wrong = await outcome(berth('hollow', '--nodes=0'));
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /^berth: --nodes takes a number [^\n]*\n$/);
});

test('Ctrl-C removes them and nothing else', bound, async () => {
  const closed = outcome(fleet);
  fleet.kill('SIGINT');
  assert.deepEqual(await closed, { code: 0, stderr: '' });
  const { items } = await plane.client.list(nodes);
  assert.deepEqual(
    items.map(({ metadata }) => metadata.name),
    ['real-0'],
  );
});
