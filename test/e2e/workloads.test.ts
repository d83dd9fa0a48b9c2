import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;

function deployment(name: string, replicas: number, container: object, spec: object = {}): object {
  const labels = { app: name };
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: {
        metadata: { labels },
        spec: { terminationGracePeriodSeconds: 1, containers: [{ name: 'main', image, ...container }], ...spec },
      },
    },
  };
}

const serve = ['sh', '-c', 'mkdir -p /www && hostname > /www/index.html && exec httpd -f -p 8080 -h /www'];
const web = { command: serve, readinessProbe: { httpGet: { port: 8080 }, periodSeconds: 1 } };

function lines(text: string): string[] {
  return text
    .trim()
    .split('\n')
    .filter((line) => line !== '');
}

describe('workloads on a cluster', { skip }, () => {
  let cluster: TestCluster;
  let work: string;
  const kubectl = (...args: string[]) => cluster.kubectl(...args);

  before(async () => {
    cluster = await startTestCluster();
    work = await mkdtemp(join(tmpdir(), 'berth-workloads-'));
  });
  after(async () => {
    if (work !== undefined) await rm(work, { recursive: true, force: true });
    await cluster?.[Symbol.asyncDispose]();
  });

  it('rolls out a deployment, scales it, and spreads a service over its pods', async () => {
    await cluster.apply(deployment('web', 2, web));
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    await kubectl('expose', 'deployment', 'web', '--port=80', '--target-port=8080');
    await kubectl('scale', 'deployment/web', '--replicas=3');
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    const names = lines(await kubectl('get', 'pods', '-l', 'app=web', '-o', 'name'));
    assert.equal(names.length, 3);
    const ip = (await kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}')).trim();
    const seen = new Set<string>();
    await eventually('every pod answers through the cluster IP', async () => {
      const answer = await cluster.fetch(`http://${ip}/`);
      if (answer.exitCode === 0) seen.add(answer.stdout.trim());
      return seen.size === 3;
    });
    assert.deepEqual([...seen].map((name) => `pod/${name}`).sort(), names.sort());
  });

  it('lets a pod reach the service and itself through it', async () => {
    const ip = (await kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}')).trim();
    const [pod = ''] = lines(await kubectl('get', 'pods', '-l', 'app=web', '-o', 'name'));
    const seen = new Set<string>();
    await eventually('a pod sees all three, itself included', async () => {
      seen.add((await kubectl('exec', pod, '--', 'timeout', '2', 'wget', '-q', '-O', '-', `http://${ip}/`)).trim());
      return seen.size === 3;
    });
  });

  it('resolves the names of services and of pods behind headless ones', async () => {
    const ip = (await kubectl('get', 'service', 'web', '-o', 'jsonpath={.spec.clusterIP}')).trim();
    const lookup = async (name: string, type = 'a') =>
      await kubectl('exec', 'deployment/web', '--', 'nslookup', `-type=${type}`, name);
    await eventually('the service by its full name', async () =>
      (await lookup('web.default.svc.cluster.local')).includes(ip),
    );
    assert.match(await kubectl('exec', 'deployment/web', '--', 'wget', '-q', '-O', '-', 'http://web/'), /^web-/);
    await kubectl('create', 'service', 'clusterip', 'peers', '--clusterip=None', '--tcp=8080');
    await kubectl('patch', 'service', 'peers', '-p', '{"spec":{"selector":{"app":"web"}}}');
    const podIPs = (await kubectl('get', 'pods', '-l', 'app=web', '-o', 'jsonpath={.items[*].status.podIP}')).split(
      ' ',
    );
    await eventually('every pod by the headless name', async () => {
      const answer = await lookup('peers.default.svc.cluster.local');
      return podIPs.every((podIP) => answer.includes(podIP));
    });
    const missing = await cluster.tryKubectl([
      'exec',
      'deployment/web',
      '--',
      'nslookup',
      'absent.default.svc.cluster.local',
    ]);
    assert.match(missing.stdout, /NXDOMAIN/);
  });

  it('updates a deployment and undoes the update', async () => {
    const before = await kubectl(
      'get',
      'deployment',
      'web',
      '-o',
      'jsonpath={.spec.template.spec.containers[0].command[2]}',
    );
    await kubectl('set', 'env', 'deployment/web', 'COLOUR=blue');
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal((await kubectl('exec', 'deployment/web', '--', 'sh', '-c', 'echo $COLOUR')).trim(), 'blue');
    await kubectl('rollout', 'undo', 'deployment/web');
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    assert.equal((await kubectl('exec', 'deployment/web', '--', 'sh', '-c', 'echo $COLOUR')).trim(), '');
    assert.equal(
      await kubectl('get', 'deployment', 'web', '-o', 'jsonpath={.spec.template.spec.containers[0].command[2]}'),
      before,
    );
    const history = await kubectl('rollout', 'history', 'deployment/web');
    assert.match(history, /^2\s/m);
    assert.match(history, /^3\s/m);
  });

  it('restarts a deployment pod by pod', async () => {
    const before = lines(await kubectl('get', 'pods', '-l', 'app=web', '-o', 'name'));
    await kubectl('rollout', 'restart', 'deployment/web');
    await kubectl('rollout', 'status', 'deployment/web', '--timeout=60s');
    const after = await eventually('old pods are gone', async () => {
      const names = lines(await kubectl('get', 'pods', '-l', 'app=web', '-o', 'name'));
      return names.length === 3 && names;
    });
    assert.deepEqual(
      after.filter((name) => before.includes(name)),
      [],
    );
  });

  it('restarts a container whose liveness probe fails and says so in events', async () => {
    const command = ['sh', '-c', 'touch /tmp/alive; sleep 2; rm /tmp/alive; sleep 600'];
    const livenessProbe = { exec: { command: ['cat', '/tmp/alive'] }, periodSeconds: 1, failureThreshold: 1 };
    await cluster.apply(deployment('fragile', 1, { command, livenessProbe }));
    await eventually('a restart', async () => {
      const count = await kubectl(
        'get',
        'pods',
        '-l',
        'app=fragile',
        '-o',
        'jsonpath={.items[0].status.containerStatuses[0].restartCount}',
      );
      return Number(count) >= 1;
    });
    const events = await kubectl('events', '--types=Warning');
    assert.match(events, /Unhealthy .*Liveness probe failed: cat: can't open '\/tmp\/alive'/);
    await kubectl('delete', 'deployment', 'fragile');
  });

  it('shows a changed config map inside a running pod', async () => {
    await kubectl('create', 'configmap', 'settings', '--from-literal=colour=red');
    const volumes = [{ name: 'settings', configMap: { name: 'settings' } }];
    const volumeMounts = [{ name: 'settings', mountPath: '/settings' }];
    await cluster.apply(deployment('configured', 1, { command: ['sleep', '600'], volumeMounts }, { volumes }));
    await kubectl('rollout', 'status', 'deployment/configured', '--timeout=60s');
    assert.equal(await kubectl('exec', 'deployment/configured', '--', 'cat', '/settings/colour'), 'red');
    await kubectl('patch', 'configmap', 'settings', '--type=merge', '-p', '{"data":{"colour":"green"}}');
    await eventually('the new value in the pod', async () => {
      return (await kubectl('exec', 'deployment/configured', '--', 'cat', '/settings/colour')) === 'green';
    });
    await kubectl('delete', 'deployment', 'configured');
  });

  it('gives pods a token that the API server accepts', async () => {
    await kubectl('create', 'rolebinding', 'viewer', '--clusterrole=view', '--serviceaccount=default:default');
    const mount = '/var/run/secrets/kubernetes.io/serviceaccount';
    const [token, ca] = [
      await kubectl('exec', 'deployment/web', '--', 'cat', `${mount}/token`),
      await kubectl('exec', 'deployment/web', '--', 'cat', `${mount}/ca.crt`),
    ];
    const caFile = join(work, 'ca.crt');
    await writeFile(caFile, ca);
    const client = [
      '--kubeconfig=/dev/null',
      '--server=https://10.96.0.1',
      `--certificate-authority=${caFile}`,
      `--token=${token}`,
    ];
    const answer = await cluster.namespace.exec('kubectl', [...client, 'get', 'service', 'web', '-o', 'json']);
    assert.equal(answer.exitCode, 0, answer.stderr);
    const denied = await cluster.namespace.exec('kubectl', [...client, 'get', 'secrets']);
    assert.match(denied.stderr, /User "system:serviceaccount:default:default" cannot list resource "secrets"/);
    assert.equal(JSON.parse(answer.stdout).metadata.name, 'web');
  });

  it('runs init containers in order, keeps a sidecar running, and completes a job', async () => {
    const job = {
      apiVersion: 'batch/v1',
      kind: 'Job',
      metadata: { name: 'steps' },
      spec: {
        backoffLimit: 0,
        template: {
          spec: {
            restartPolicy: 'Never',
            terminationGracePeriodSeconds: 1,
            volumes: [{ name: 'log', emptyDir: {} }],
            initContainers: [
              {
                name: 'first',
                image,
                command: ['sh', '-c', 'echo first >> /log/steps'],
                volumeMounts: [{ name: 'log', mountPath: '/log' }],
              },
              {
                name: 'sidecar',
                image,
                restartPolicy: 'Always',
                command: ['sh', '-c', 'echo sidecar >> /log/steps; exec sleep 600'],
                volumeMounts: [{ name: 'log', mountPath: '/log' }],
              },
            ],
            containers: [
              {
                name: 'main',
                image,
                command: ['sh', '-c', 'sleep 1; cat /log/steps; echo main'],
                volumeMounts: [{ name: 'log', mountPath: '/log' }],
              },
            ],
          },
        },
      },
    };
    await cluster.apply(job);
    await kubectl('wait', '--for=condition=complete', 'job/steps', '--timeout=60s');
    assert.deepEqual(lines(await kubectl('logs', 'job/steps', '-c', 'main')), ['first', 'sidecar', 'main']);
    const status = await kubectl('get', 'pods', '-l', 'job-name=steps');
    assert.match(status, /Completed/);
  });

  it('terminates gracefully: preStop first, then the signal', async () => {
    const command = ['sh', '-c', 'trap "echo got TERM; exit 0" TERM; while true; do sleep 0.1; done'];
    const lifecycle = { preStop: { exec: { command: ['sh', '-c', 'echo preStop > /proc/1/fd/1'] } } };
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'polite', finalizers: ['example.com/look'] },
      spec: {
        restartPolicy: 'Never',
        terminationGracePeriodSeconds: 20,
        containers: [{ name: 'main', image, command, lifecycle }],
      },
    });
    await kubectl('wait', '--for=condition=Ready', 'pod/polite', '--timeout=60s');
    const follow = cluster.spawnKubectl('logs', '-f', 'polite');
    let text = '';
    follow.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    await kubectl('delete', 'pod', 'polite', '--wait=false');
    await eventually('the order in the log', async () => /preStop\n[\s\S]*got TERM/.test(text));
    follow.kill();
    await eventually('the container has ended', async () => {
      return (
        (await kubectl(
          'get',
          'pod',
          'polite',
          '-o',
          'jsonpath={.status.containerStatuses[0].state.terminated.exitCode}',
        )) === '0'
      );
    });
    await kubectl('patch', 'pod', 'polite', '--type=json', '-p', '[{"op":"remove","path":"/metadata/finalizers"}]');
    await eventually(
      'the pod is gone',
      async () => (await cluster.tryKubectl(['get', 'pod', 'polite'])).exitCode !== 0,
    );
  });

  it('rejects connections to a service without endpoints', async () => {
    await kubectl('create', 'service', 'clusterip', 'empty', '--tcp=80:80');
    const ip = (await kubectl('get', 'service', 'empty', '-o', 'jsonpath={.spec.clusterIP}')).trim();
    await eventually('a refusal', async () => {
      const answer = await cluster.fetch(`http://${ip}/`);
      return /refused/i.test(answer.stderr);
    });
  });

  it('serves a node port', async () => {
    await kubectl('expose', 'deployment', 'web', '--name=web-np', '--port=80', '--target-port=8080', '--type=NodePort');
    const port = (await kubectl('get', 'service', 'web-np', '-o', 'jsonpath={.spec.ports[0].nodePort}')).trim();
    const ip = (
      await kubectl('get', 'nodes', '-o', 'jsonpath={.items[0].status.addresses[?(@.type=="InternalIP")].address}')
    ).trim();
    await eventually('an answer', async () => {
      const answer = await cluster.fetch(`http://${ip}:${port}/`);
      return answer.exitCode === 0 && answer.stdout.startsWith('web-');
    });
  });

  it('deletes a namespace with everything in it', async () => {
    await kubectl('create', 'namespace', 'short-lived');
    await kubectl('create', 'configmap', 'thing', '-n', 'short-lived');
    const thing = deployment('thing', 2, { command: ['sleep', '600'] }) as { metadata: object };
    await cluster.apply({ ...thing, metadata: { ...thing.metadata, namespace: 'short-lived' } });
    await kubectl('rollout', 'status', '-n', 'short-lived', 'deployment/thing', '--timeout=60s');
    await kubectl('delete', 'namespace', 'short-lived', '--timeout=90s');
    assert.equal((await kubectl('get', 'pods', '-n', 'short-lived', '-o', 'name')).trim(), '');
  });
});
