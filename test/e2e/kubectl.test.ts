import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;

function pod(name: string, labels: Record<string, string>, command: string[]): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, labels },
    spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, command }] },
  };
}

describe('kubectl against a cluster', { skip }, () => {
  let cluster: TestCluster;
  let work: string;
  const kubectl = (...args: string[]) => cluster.kubectl(...args);

  before(async () => {
    cluster = await startTestCluster();
    work = await mkdtemp(join(tmpdir(), 'berth-kubectl-'));
    const talk = 'i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done';
    await cluster.apply(pod('talker', { app: 'talker', tier: 'back' }, ['sh', '-c', talk]));
    await cluster.apply(pod('sleeper', { app: 'sleeper', tier: 'front' }, ['sleep', '3600']));
    await kubectl('wait', '--for=condition=Ready', 'pod/talker', 'pod/sleeper', '--timeout=60s');
  });
  after(async () => {
    if (work !== undefined) await rm(work, { recursive: true, force: true });
    await cluster?.[Symbol.asyncDispose]();
  });

  it('prints tables with the columns users know, wide and over all namespaces', async () => {
    const plain = await kubectl('get', 'pods');
    assert.match(plain, /^NAME +READY +STATUS +RESTARTS +AGE\n/);
    assert.match(plain, /^talker +1\/1 +Running +0 +/m);
    assert.match(
      await kubectl('get', 'pods', '-o', 'wide'),
      /^NAME +READY +STATUS +RESTARTS +AGE +IP +NODE +NOMINATED NODE +READINESS GATES\n/,
    );
    assert.match(await kubectl('get', 'pods', '-A'), /^NAMESPACE +NAME +READY/);
    assert.match(await kubectl('get', 'nodes', '-o', 'wide'), /containerd:\/\//);
    assert.match(await kubectl('get', 'services'), /^kubernetes +ClusterIP +10\.96\.0\.1 +<none> +443\/TCP/m);
  });

  it('selects by label and by field', async () => {
    assert.equal(await kubectl('get', 'pods', '-l', 'tier in (back)', '-o', 'name'), 'pod/talker\n');
    assert.equal(
      await kubectl('get', 'pods', '--field-selector', 'metadata.name=sleeper', '-o', 'name'),
      'pod/sleeper\n',
    );
    assert.equal(await kubectl('get', 'pods', '--field-selector', 'status.phase=Failed', '-o', 'name'), '');
  });

  it('watches', async () => {
    const watch = cluster.spawnKubectl('get', 'configmaps', '-w', '--output-watch-events', '--no-headers');
    let text = '';
    watch.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await eventually('the first list', async () => text.includes('kube-root-ca.crt'));
    await kubectl('create', 'configmap', 'seen', '--from-literal=a=b');
    await kubectl('delete', 'configmap', 'seen');
    await eventually('both events', async () => /ADDED +seen[\s\S]*DELETED +seen/.test(text));
    watch.kill();
  });

  it('describes pods, nodes and services', async () => {
    const description = await kubectl('describe', 'pod', 'talker');
    assert.match(description, /Status: +Running/);
    assert.match(description, /Normal +Scheduled/);
    assert.match(description, /Normal +Started/);
    assert.match(await kubectl('describe', 'node'), /Ready +True[\s\S]*KubeletReady/);
    assert.match(await kubectl('describe', 'service', 'kubernetes'), /Endpoints: +\d+\.\d+\.\d+\.\d+:6443/);
  });

  it('applies on the client and on the server, with conflicts told', async () => {
    const config = (value: string) => ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'applied' },
      data: { value },
    });
    assert.equal(await cluster.apply(config('1')), 'configmap/applied created\n');
    assert.equal(await cluster.apply(config('1')), 'configmap/applied unchanged\n');
    assert.equal(await cluster.apply(config('2')), 'configmap/applied configured\n');
    const apply = (value: string, ...args: string[]) =>
      cluster.tryKubectl(['apply', '--server-side', '-f', '-', ...args], {
        input: JSON.stringify({ ...config(value), metadata: { name: 'owned' } }),
      });
    assert.equal((await apply('1', '--field-manager=one')).stdout, 'configmap/owned serverside-applied\n');
    const conflict = await apply('2', '--field-manager=two');
    assert.equal(conflict.exitCode, 1);
    assert.match(conflict.stderr, /conflict with "one": \.data\.value/);
    assert.equal((await apply('2', '--field-manager=two', '--force-conflicts')).exitCode, 0);
    assert.equal(await kubectl('get', 'configmap', 'owned', '-o', 'jsonpath={.data.value}'), '2');
  });

  it('edits', async () => {
    const editor = join(work, 'editor.sh');
    await writeFile(editor, '#!/bin/sh\nsed -i "s/value: .*/value: edited/" "$1"\n', { mode: 0o755 });
    await kubectl('create', 'configmap', 'editable', '--from-literal=value=raw');
    const result = await cluster.tryKubectl(['edit', 'configmap', 'editable'], { env: { KUBE_EDITOR: editor } });
    assert.equal(result.exitCode, 0, result.stderr);
    assert.equal(await kubectl('get', 'configmap', 'editable', '-o', 'jsonpath={.data.value}'), 'edited');
  });

  it('patches in three ways', async () => {
    await kubectl('create', 'deployment', 'patched', `--image=${image}`, '--replicas=0', '--', 'sleep', '600');
    await kubectl(
      'patch',
      'deployment',
      'patched',
      '-p',
      '{"spec":{"template":{"spec":{"containers":[{"name":"busybox","env":[{"name":"A","value":"1"}]}]}}}}',
    );
    await kubectl('patch', 'deployment', 'patched', '--type=merge', '-p', '{"spec":{"minReadySeconds":3}}');
    await kubectl(
      'patch',
      'deployment',
      'patched',
      '--type=json',
      '-p',
      '[{"op":"add","path":"/metadata/labels/x","value":"y"}]',
    );
    const { metadata, spec } = JSON.parse(await kubectl('get', 'deployment', 'patched', '-o', 'json'));
    assert.equal(spec.template.spec.containers[0].image, image, 'the strategic patch merged by container name');
    assert.deepEqual(spec.template.spec.containers[0].env, [{ name: 'A', value: '1' }]);
    assert.equal(spec.minReadySeconds, 3);
    assert.equal(metadata.labels.x, 'y');
    await kubectl('delete', 'deployment', 'patched');
  });

  it('deletes with orphaned and with foreground dependents', async () => {
    for (const cascade of ['orphan', 'foreground']) {
      const name = `parent-${cascade}`;
      await kubectl('create', 'deployment', name, `--image=${image}`, '--', 'sleep', '600');
      await eventually(
        'a replica set',
        async () => (await kubectl('get', 'replicasets', '-l', `app=${name}`, '-o', 'name')) !== '',
      );
      await kubectl('delete', 'deployment', name, `--cascade=${cascade}`, '--timeout=60s');
      const left = await kubectl('get', 'replicasets', '-l', `app=${name}`, '-o', 'name');
      assert.equal(left !== '', cascade === 'orphan');
      await kubectl('delete', 'replicasets,pods', '-l', `app=${name}`, '--ignore-not-found');
    }
  });

  it('waits for finalizers', async () => {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'held', finalizers: ['example.com/hold'] },
    });
    await kubectl('delete', 'configmap', 'held', '--wait=false');
    assert.notEqual(await kubectl('get', 'configmap', 'held', '-o', 'jsonpath={.metadata.deletionTimestamp}'), '');
    await kubectl('patch', 'configmap', 'held', '--type=merge', '-p', '{"metadata":{"finalizers":null}}');
    assert.notEqual((await cluster.tryKubectl(['get', 'configmap', 'held'])).exitCode, 0);
  });

  it('reads logs: all, the tail, since a time, with timestamps, followed', async () => {
    assert.match(await kubectl('logs', 'talker'), /^line 1\n/);
    assert.equal((await kubectl('logs', 'talker', '--tail=2')).trim().split('\n').length, 2);
    assert.match(await kubectl('logs', 'talker', '--tail=1', '--timestamps'), /^\d{4}-\d\d-\d\dT\S+Z line \d+\n$/);
    assert.doesNotMatch(await kubectl('logs', 'talker', '--since=1s'), /^line 1$/m);
    const follow = cluster.spawnKubectl('logs', '-f', '--tail=1', 'talker');
    let text = '';
    follow.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await eventually('five more lines', async () => text.trim().split('\n').length >= 5);
    follow.kill();
  });

  it('reads the logs of the container before a restart', async () => {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'again' },
      spec: {
        terminationGracePeriodSeconds: 1,
        volumes: [{ name: 'v', emptyDir: {} }],
        containers: [
          {
            name: 'main',
            image,
            command: ['sh', '-c', 'if [ -e /v/x ]; then echo second; sleep 600; fi; touch /v/x; echo first; exit 3'],
            volumeMounts: [{ name: 'v', mountPath: '/v' }],
          },
        ],
      },
    });
    await eventually('the second life', async () => (await kubectl('logs', 'again')) === 'second\n');
    assert.equal(await kubectl('logs', 'again', '--previous'), 'first\n');
    const state = await kubectl(
      'get',
      'pod',
      'again',
      '-o',
      'jsonpath={.status.containerStatuses[0].lastState.terminated.exitCode}',
    );
    assert.equal(state, '3');
  });

  it('executes commands, with input, exit code and a terminal', async () => {
    assert.equal(await kubectl('exec', 'sleeper', '--', 'echo', 'hello'), 'hello\n');
    const piped = await cluster.tryKubectl(['exec', '-i', 'sleeper', '--', 'sh', '-c', 'cat; echo bad >&2; exit 7'], {
      input: 'from stdin',
    });
    assert.equal(piped.stdout, 'from stdin');
    assert.match(piped.stderr, /bad/);
    assert.equal(piped.exitCode, 7);
    const terminal = await cluster.namespace.exec(
      'script',
      ['-qec', `kubectl --kubeconfig ${cluster.layout.adminKubeconfig} exec -it sleeper -- tty`, '/dev/null'],
      { input: '' },
    );
    assert.match(terminal.stdout, /\/dev\/pts\/\d+/);
  });

  it('attaches to a running container', async () => {
    const attach = cluster.spawnKubectl('attach', 'talker');
    let text = '';
    attach.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await eventually('output', async () => /line \d+/.test(text));
    attach.kill();
  });

  it('forwards a port', async () => {
    await cluster.apply(
      pod('server', { app: 'server' }, [
        'sh',
        '-c',
        'mkdir /w && echo forwarded > /w/index.html && exec httpd -f -p 8080 -h /w',
      ]),
    );
    await kubectl('wait', '--for=condition=Ready', 'pod/server', '--timeout=60s');
    const forward = cluster.spawnKubectl('port-forward', 'pod/server', '18080:8080');
    try {
      await eventually(
        'the page',
        async () => (await cluster.fetch('http://127.0.0.1:18080/')).stdout === 'forwarded\n',
      );
    } finally {
      forward.kill();
    }
  });

  it('copies files both ways', async () => {
    const source = join(work, 'up.txt');
    const target = join(work, 'down.txt');
    await writeFile(source, 'carried\n');
    await kubectl('cp', source, 'sleeper:/tmp/file.txt');
    await kubectl('cp', 'sleeper:/tmp/file.txt', target);
    assert.equal(await readFile(target, 'utf8'), 'carried\n');
  });

  it('runs a pod in the foreground and removes it', async () => {
    const result = await cluster.tryKubectl(
      ['run', 'once', '--rm', '-i', `--image=${image}`, '--restart=Never', '--', 'sh', '-c', 'read x; echo "got $x"'],
      {
        input: 'it\n',
        timeoutMs: 60_000,
      },
    );
    assert.match(result.stdout, /got it/);
    assert.match(result.stdout, /pod "once" deleted/);
  });

  it('explains, lists resources, and says who may do what', async () => {
    assert.match(await kubectl('explain', 'deployment.spec.strategy'), /FIELD: strategy <DeploymentStrategy>/);
    assert.match(await kubectl('api-resources'), /^deployments +deploy +apps\/v1 +true +Deployment$/m);
    assert.equal((await kubectl('auth', 'can-i', 'create', 'pods')).trim(), 'yes');
    const denied = await cluster.tryKubectl([
      'auth',
      'can-i',
      'create',
      'pods',
      '--as=system:serviceaccount:default:default',
    ]);
    assert.equal(denied.stdout.trim(), 'no');
    assert.match(await kubectl('cluster-info'), /control plane.* is running at/);
    assert.match(await kubectl('version'), /Server Version: v1\.36/);
    assert.match(await kubectl('events'), /Started/);
  });

  it('tells what is wrong with wrong input as Kubernetes does', async () => {
    const bad = await cluster.tryKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'Bad_Name' },
        spec: { containers: [{ name: 'c', image: 'i' }] },
      }),
    });
    assert.match(bad.stderr, /The Pod "Bad_Name" is invalid: metadata\.name: Invalid value/);
    const unknown = await cluster.tryKubectl(['apply', '-f', '-'], {
      input: JSON.stringify({
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'p' },
        spec: { containers: [{ name: 'c', image: 'i' }], nope: 1 },
      }),
    });
    assert.match(unknown.stderr, /unknown field "spec\.nope"/);
    const missing = await cluster.tryKubectl(['get', 'pod', 'absent']);
    assert.match(missing.stderr, /Error from server \(NotFound\): pods "absent" not found/);
    const selector = await cluster.tryKubectl(['create', 'configmap', 'talker', '-n', 'absent']);
    assert.match(selector.stderr, /namespaces "absent" not found/);
  });

  it('proxies through the API server to nodes and services', async () => {
    const node = cluster.layout.nodes[0]?.name ?? '';
    assert.equal(await kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/healthz`), 'ok');
    const summary = JSON.parse(await kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/stats/summary`));
    assert.ok(summary.pods.some((entry: { podRef: { name: string } }) => entry.podRef.name === 'talker'));
    assert.match(
      await kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/metrics/cadvisor`),
      /container_cpu_usage_seconds_total\{[^}]*pod="talker"/,
    );
    assert.match(
      await kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/metrics/resource`),
      /pod_memory_working_set_bytes\{[^}]*pod="talker"/,
    );
  });
});
