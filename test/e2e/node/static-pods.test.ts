// Pods that a node has from manifests: in a directory and behind a URL, with and without an API server.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { appendFile, mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { isAlive, readRunState } from '../../../cli/up/run-state.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const port = 18_943;

function manifest(name: string, text: string, spec: Partial<PodSpec> = {}): object {
  const containers = [script(text, { imagePullPolicy: 'IfNotPresent' })];
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: { terminationGracePeriodSeconds: 1, containers, ...spec },
  };
}

describe('static pods', { skip: clustersUnavailable() ?? false }, () => {
  let node: NodeCluster;
  let directory: string;
  let pages: string;
  let server: ChildProcess | undefined;

  async function processOf(prefix: string) {
    const state = await readRunState(node.cluster.layout.stateFile);
    const found = state?.processes.find(({ name }) => name.startsWith(prefix));
    assert.ok(found !== undefined, prefix);
    return found;
  }

  async function restartAgent(): Promise<void> {
    const { pid } = await processOf('agent');
    process.kill(pid, 'SIGKILL');
    await eventually('another agent', async () => {
      const next = await processOf('agent');
      return next.pid !== pid && isAlive(next);
    });
  }

  before(async () => {
    node = await startNodeCluster();
    const layout = node.cluster.layout.nodes[0];
    assert.ok(layout !== undefined);
    directory = join(layout.stateDir, 'manifests');
    pages = join(layout.stateDir, 'pages');
    await mkdir(directory, { recursive: true });
    await mkdir(pages, { recursive: true });
    const args = [
      `--net=${node.cluster.namespace.path}`,
      'busybox',
      'httpd',
      '-f',
      '-p',
      `127.0.0.1:${port}`,
      '-h',
      pages,
    ];
    server = spawn('nsenter', args, { stdio: 'ignore' });
    await appendFile(
      layout.agentConfig,
      `\nstaticPodPath: ${directory}\nstaticPodURL: http://127.0.0.1:${port}/pods.json\nhttpCheckFrequency: 1s\n`,
    );
    await restartAgent();
  });
  after(async () => {
    server?.kill();
    await node?.[Symbol.asyncDispose]();
  });

  const mirror = (name: string) => `${name}-${node.nodeName}`;
  const write = (file: string, content: object | string) =>
    writeFile(join(directory, file), typeof content === 'string' ? content : JSON.stringify(content));
  const running = (name: string, reached: (pod: Pod) => boolean = () => true) =>
    eventually(
      `${name} runs`,
      async () => {
        const found = await node.client.list(pods, {
          namespace: 'default',
          fieldSelector: `metadata.name=${mirror(name)}`,
        });
        const [pod] = found.items;
        return pod?.status?.phase === 'Running' && reached(pod) && pod;
      },
      30_000,
      100,
    );

  it('come, change and go with their files, and are shown by the API server', async () => {
    await write('.hidden.yaml', manifest('hidden', 'exec sleep 3600'));
    await write('broken.yaml', 'kind: [');
    await write('wrong.yaml', manifest('wrong', 'exec sleep 3600', { serviceAccountName: 'default' }));
    await write('a.yaml', manifest('changes', 'exec sleep 3600'));
    const first = await running('changes');
    assert.equal(first.metadata.annotations?.['kubernetes.io/config.source'], 'file');
    assert.equal(first.metadata.ownerReferences?.[0]?.kind, 'Node');
    const id = containerStatus(first)?.containerID;
    await write('a.yaml', manifest('changes', 'exec sleep 3601'));
    const second = await running('changes', (pod) => containerStatus(pod)?.containerID !== id);
    assert.notEqual(second.metadata.uid, first.metadata.uid);
    await rm(join(directory, 'a.yaml'));
    await node.waitGone('default', mirror('changes'));
    const names = (await node.client.list(pods, { namespace: 'default' })).items.map(({ metadata }) => metadata.name);
    assert.deepEqual(names, []);
  });

  it('are shown again when somebody deletes what shows them, and go on', async () => {
    await write('b.yaml', manifest('shown', 'exec sleep 3600'));
    const first = await running('shown');
    await node.client.delete(pods, { namespace: 'default', name: mirror('shown') }, { gracePeriodSeconds: 0 });
    const second = await running('shown', (pod) => pod.metadata.uid !== first.metadata.uid);
    assert.equal(containerStatus(second)?.containerID, containerStatus(first)?.containerID);
    await rm(join(directory, 'b.yaml'));
    await node.waitGone('default', mirror('shown'));
  });

  it('come from a URL, one or many, and stay while that does not answer', async () => {
    const list = {
      apiVersion: 'v1',
      kind: 'PodList',
      items: [manifest('one', 'exec sleep 3600'), manifest('two', 'exec sleep 3600')],
    };
    await writeFile(join(pages, 'pods.json'), JSON.stringify(list));
    const one = await running('one');
    await running('two');
    assert.equal(one.metadata.annotations?.['kubernetes.io/config.source'], 'http');
    await rm(join(pages, 'pods.json'));
    await new Promise((resolve) => setTimeout(resolve, 2500));
    assert.equal(containerStatus(await running('one'))?.containerID, containerStatus(one)?.containerID);
    await writeFile(join(pages, 'pods.json'), JSON.stringify({ ...list, items: [] }));
    await node.waitGone('default', mirror('one'));
    await node.waitGone('default', mirror('two'));
  });

  it('take the place of others where the node is full', async () => {
    const namespace = await node.namespace();
    const allocatable = Number((await node.node()).status?.allocatable?.['cpu'] ?? '1');
    const resources = (cpu: string) => ({ resources: { requests: { cpu } } });
    await node.createPod(namespace, {
      name: 'large',
      spec: { containers: [script('exec sleep 3600', resources(`${allocatable * 1000 - 300}m`))] },
    });
    await node.waitReady(namespace, 'large');
    const containers = [script('exec sleep 3600', { imagePullPolicy: 'IfNotPresent', ...resources('600m') })];
    await write('c.yaml', manifest('needed', '', { containers }));
    await running('needed');
    const gone = await node.waitEnded(namespace, 'large');
    assert.deepEqual([gone.status?.phase, gone.status?.reason], ['Failed', 'Preempting']);
    const condition = gone.status?.conditions?.find(({ type }) => type === 'DisruptionTarget');
    assert.deepEqual([condition?.status, condition?.reason], ['True', 'TerminationByKubelet']);
    await rm(join(directory, 'c.yaml'));
    await node.waitGone('default', mirror('needed'));
  });

  it('start without an API server', async () => {
    const mark = `3${Math.floor(Math.random() * 1e6)}`;
    const control = await processOf('control-plane');
    const isRunning = async () => (await systemExec('pgrep', ['-f', `^sleep ${mark}$`])).exitCode === 0;
    process.kill(control.pid, 'SIGSTOP');
    try {
      await write('d.yaml', manifest('first', `exec sleep ${mark}`));
      await restartAgent();
      await eventually('it runs', isRunning, 30_000, 200);
    } finally {
      process.kill(control.pid, 'SIGCONT');
    }
    await running('first');
    assert.ok((await execOrThrow(systemExec, 'pgrep', ['-f', `^sleep ${mark}$`])).trim().split('\n').length === 1);
  });
});
