import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { pino } from 'pino';
import { deployments, jobs, pods, replicasets } from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { eventually } from '../../support/eventually.ts';
import { runFakeAgent } from '../../support/fake-agent.ts';

const namespace = 'default';
const main = fileURLToPath(new URL('../../../cli/main.ts', import.meta.url));
const logger = pino({ level: 'silent' });
const stopAgents = new AbortController();
let dir: string;
let port: number;
let child: ChildProcess;
let client: ApiClient;
let agents: Promise<void>;

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return free;
}

function newClient(): ApiClient {
  return createClient(
    loadClientConfig({ exec: systemExec, clock: systemClock, env: {} }, join(dir, 'admin.kubeconfig')),
  );
}

async function start(): Promise<void> {
  const flags = [`--data-dir=${dir}/data`, `--pki-dir=${dir}/pki`, `--kubeconfig-dir=${dir}`, `--secure-port=${port}`];
  const addresses = ['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'];
  child = spawn(process.execPath, [main, 'control-plane', ...flags, ...addresses], { stdio: 'ignore' });
  await eventually('the control plane answers', async () => {
    const probe = newClient();
    try {
      return (await probe.raw<string>({ method: 'GET', path: '/readyz', timeoutMs: 1000 })) === 'ok' ? true : undefined;
    } finally {
      await probe.close();
    }
  });
}

async function kill(): Promise<void> {
  const gone = once(child, 'exit');
  child.kill('SIGKILL');
  await gone;
}

before(async () => {
  dir = await mkdtemp(join(tmpdir(), 'recovery-'));
  port = await freePort();
  await start();
  client = newClient();
  agents = Promise.all(
    ['n1', 'n2'].map(async (nodeName) => runFakeAgent({ client, nodeName, logger }, stopAgents.signal)),
  ).then(() => undefined);
});

after(async () => {
  stopAgents.abort();
  await agents;
  await client.close();
  await kill();
  await rm(dir, { recursive: true, force: true });
});

test('a control plane killed again and again in the middle of its work ends with exactly what was asked for', async () => {
  const labels = { app: 'web' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'i:1' }] } };
  const spec = { replicas: 12, selector: { matchLabels: labels }, template };
  await client.create(deployments, namespace, { metadata: { name: 'web' }, spec });
  const annotations = { 'test/outcome': 'succeed', 'test/after-ms': '100' };
  const jobTemplate = {
    metadata: { annotations },
    spec: { restartPolicy: 'Never', containers: [{ name: 'c', image: 'i' }] },
  };
  await client.create(jobs, namespace, {
    metadata: { name: 'sum' },
    spec: { completions: 20, parallelism: 4, template: jobTemplate },
  });
  for (const delayMs of [150, 400, 700]) {
    await sleep(delayMs);
    await kill();
    await start();
  }
  const patch = { spec: { template: { spec: { containers: [{ name: 'c', image: 'i:2' }] } } } };
  await client.patch(deployments, { namespace, name: 'web' }, 'strategic', patch);
  await sleep(200);
  await kill();
  await start();

  const job = await eventually(
    'the job is complete',
    async () => {
      const found = await client.get(jobs, { namespace, name: 'sum' });
      return found.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True')
        ? found
        : undefined;
    },
    60_000,
  );
  assert.deepEqual([job.status?.succeeded, job.status?.failed], [20, undefined]);
  const ran = (await client.list(pods, { namespace, labelSelector: 'job-name=sum' })).items;
  assert.equal(ran.filter(({ status }) => status?.phase === 'Succeeded').length, 20);
  await eventually(
    'the rollout is complete',
    async () => {
      const { status } = await client.get(deployments, { namespace, name: 'web' });
      return status?.updatedReplicas === 12 && status.availableReplicas === 12 && status.replicas === 12
        ? true
        : undefined;
    },
    60_000,
  );
  const left = await eventually('twelve pods', async () => {
    const { items } = await client.list(pods, { namespace, labelSelector: 'app=web' });
    return items.length === 12 ? items : undefined;
  });
  assert.deepEqual([...new Set(left.map((pod) => pod.spec?.containers[0]?.image))], ['i:2']);
  assert.equal((await client.list(replicasets, { namespace })).items.length, 2);
});
