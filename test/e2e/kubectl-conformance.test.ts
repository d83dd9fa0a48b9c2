// What conformance asks of kubectl and of service account tokens in pods, with the real kubectl and real containers.
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;
const bounds = { timeout: 180_000 };
const tokens = '/var/run/secrets/kubernetes.io/serviceaccount';
const serve = (page: string) => ['sh', '-c', `mkdir /w && echo ${page} > /w/index.html && exec httpd -f -p 8080 -h /w`];

describe('kubectl by conformance', { skip }, () => {
  let cluster: TestCluster;
  let work: string;
  const kubectl = (...args: string[]) => cluster.kubectl(...args);
  before(async () => {
    cluster = await startTestCluster();
    work = await mkdtemp(join(tmpdir(), 'berth-conformance-'));
  });
  after(async () => {
    if (work !== undefined) await rm(work, { recursive: true, force: true });
    await cluster?.[Symbol.asyncDispose]();
  });

  const podSpec = (name: string, command: string[]) => ({
    terminationGracePeriodSeconds: 1,
    containers: [{ name, image, command, ports: [{ containerPort: 8080 }] }],
  });
  const createPod = async (name: string, command: string[], spec: object = {}): Promise<void> => {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, labels: { name } },
      spec: { ...podSpec(name, command), ...spec },
    });
    await kubectl('wait', '--for=condition=Ready', `pod/${name}`, '--timeout=60s');
  };
  /** A replication controller whose pods serve a page; waits until they are ready. */
  const createController = async (name: string, replicas: number): Promise<void> => {
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'ReplicationController',
      metadata: { name, labels: { name } },
      spec: {
        replicas,
        selector: { name },
        template: { metadata: { labels: { name } }, spec: podSpec(name, serve(name)) },
      },
    });
    await readyPods(name, replicas);
  };
  const readyPods = (name: string, count: number): Promise<string[]> =>
    eventually(
      `${count} pods of ${name}`,
      async () => {
        const template =
          '{range .items[*]}{.metadata.name}={.metadata.deletionTimestamp}{.status.containerStatuses[0].ready}{"\\n"}{end}';
        const text = await kubectl('get', 'pods', '-l', `name=${name}`, '-o', `jsonpath=${template}`);
        const lines = text.split('\n').filter((line) => line !== '');
        if (lines.length !== count || !lines.every((line) => line.endsWith('=true'))) return undefined;
        return lines.map((line) => line.split('=')[0] ?? '');
      },
      90_000,
      200,
    );
  const isGone = (kind: string, name: string): Promise<boolean> =>
    eventually(
      `no ${kind} of ${name}`,
      async () => (await kubectl('get', kind, '-l', `name=${name}`, '-o', 'name')) === '',
      60_000,
      200,
    );

  it('Kubectl client Update Demo should create and stop a replication controller', bounds, async () => {
    await createController('update-demo', 2);
    await kubectl('delete', 'rc', 'update-demo', '--grace-period=0', '--force');
    await isGone('rc', 'update-demo');
    await isGone('pods', 'update-demo');
  });

  it('Kubectl client Update Demo should scale a replication controller', bounds, async () => {
    await createController('scaled-demo', 2);
    for (const count of [1, 2]) {
      await kubectl('scale', 'rc', 'scaled-demo', `--replicas=${count}`, '--timeout=2m');
      await readyPods('scaled-demo', count);
    }
    await kubectl('delete', 'rc', 'scaled-demo');
    await isGone('pods', 'scaled-demo');
  });

  it('Kubectl client Guestbook application should create and stop a working application', bounds, async () => {
    for (const [name, replicas] of [
      ['frontend', 2],
      ['agnhost-primary', 1],
    ] as const) {
      const labels = { app: 'guestbook', name };
      await cluster.apply({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name, labels },
        spec: {
          replicas,
          selector: { matchLabels: labels },
          template: { metadata: { labels }, spec: podSpec(name, serve(`page-of-${name}`)) },
        },
      });
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name, labels },
        spec: { selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
      });
    }
    await readyPods('frontend', 2);
    await readyPods('agnhost-primary', 1);
    for (const name of ['frontend', 'agnhost-primary'])
      await eventually('its page through the API server', async () => {
        const page = await kubectl('get', '--raw', `/api/v1/namespaces/default/services/${name}:80/proxy/`);
        return page === `page-of-${name}\n`;
      });
    const address = await kubectl('get', 'service', 'frontend', '-o', 'jsonpath={.spec.clusterIP}');
    await eventually(
      'its page at its address',
      async () => (await cluster.fetch(`http://${address}/`)).stdout === 'page-of-frontend\n',
    );
    await kubectl('delete', 'deployment,service', '-l', 'app=guestbook');
    for (const name of ['frontend', 'agnhost-primary']) await isGone('pods,services,deployments', name);
  });

  it('Kubectl client Kubectl api-versions should check if v1 is in available api versions', bounds, async () => {
    assert.ok((await kubectl('api-versions')).split('\n').includes('v1'));
  });

  it(
    'Kubectl client Kubectl cluster-info should check if Kubernetes control plane services is included in cluster-info',
    bounds,
    async () => {
      assert.match(await kubectl('cluster-info'), /Kubernetes control plane.*is running at.*https:\/\//);
    },
  );

  it('Kubectl client Kubectl version should check is all data is printed', bounds, async () => {
    const said = await kubectl('version');
    for (const which of ['Client Version', 'Server Version'])
      assert.match(said, new RegExp(`^${which}: v1\\.\\d+\\.\\S+$`, 'm'));
    const { serverVersion } = JSON.parse(await kubectl('version', '-o', 'json')) as Record<
      string,
      Record<string, string>
    >;
    for (const field of ['major', 'minor', 'gitVersion', 'platform'])
      assert.notEqual(serverVersion?.[field] ?? '', '', field);
  });

  it(
    'Kubectl client Kubectl describe should check if kubectl describe prints relevant information for rc and pods',
    bounds,
    async () => {
      await createController('described', 1);
      await cluster.apply({
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { name: 'described', labels: { name: 'described' } },
        spec: { selector: { name: 'described' }, ports: [{ port: 6379, targetPort: 8080 }] },
      });
      const [pod = ''] = await readyPods('described', 1);
      const node = cluster.layout.nodes[0]?.name ?? '';
      const has = async (args: string[], ...wanted: RegExp[]) => {
        const text = await kubectl('describe', ...args);
        for (const each of wanted) assert.match(text, each);
      };
      await has(
        ['pod', pod],
        /Name: +described-/,
        /Namespace: +default/,
        new RegExp(`Node: +${node}/`),
        /Labels: +name=described/,
        /Status: +Running/,
        /IP: +\d/,
        /Controlled By: +ReplicationController\/described/,
        /Image: +localhost\/berth\/busybox:1/,
        /State: +Running/,
        /QoS Class: +BestEffort/,
      );
      await has(
        ['rc', 'described'],
        /Name: +described/,
        /Selector: +name=described/,
        /Replicas: +1 current \/ 1 desired/,
        /Pods Status: +1 Running \/ 0 Waiting \/ 0 Succeeded \/ 0 Failed/,
        /Pod Template:/,
        /Events:/,
      );
      await has(
        ['service', 'described'],
        /Type: +ClusterIP/,
        /IP: +10\./,
        /Port: +<unset> +6379\/TCP/,
        /Endpoints: +\d/,
      );
      await has(['node', node], /Roles:/, /Conditions:/, /MemoryPressure/, /Capacity:/, /Kubelet Version: +v1\.36/);
      await has(['namespace', 'default'], /Name: +default/, /Status: +Active/, /No resource quota/);
      await kubectl('delete', 'rc,service', 'described');
    },
  );

  it(
    'Kubectl client Kubectl diff should check if kubectl diff finds a difference for Deployments',
    bounds,
    async () => {
      const labels = { app: 'httpd' };
      const deployment = (wanted: string) => ({
        apiVersion: 'apps/v1',
        kind: 'Deployment',
        metadata: { name: 'httpd-deployment' },
        spec: {
          replicas: 1,
          selector: { matchLabels: labels },
          template: {
            metadata: { labels },
            spec: {
              terminationGracePeriodSeconds: 1,
              containers: [{ name: 'httpd', image: wanted, command: ['sleep', '600'] }],
            },
          },
        },
      });
      await cluster.apply(deployment(image));
      const result = await cluster.tryKubectl(['diff', '-f', '-'], {
        input: JSON.stringify(deployment('busybox:another')),
      });
      assert.equal(result.exitCode, 1, result.stderr);
      assert.match(result.stdout, /^\+ +- image: busybox:another|^\+ +image: busybox:another/m);
      await kubectl('delete', 'deployment', 'httpd-deployment');
    },
  );

  it('Kubectl client Kubectl server-side dry-run should check if kubectl can dry-run update Pods', bounds, async () => {
    await kubectl('run', 'dry-run', `--image=${image}`, '--labels=run=dry-run', '--', 'sleep', '600');
    const patch = '{"spec":{"containers":[{"name":"dry-run","image":"busybox:another"}]}}';
    await kubectl('patch', 'pod', 'dry-run', '-p', patch, '--dry-run=server');
    assert.equal(await kubectl('get', 'pod', 'dry-run', '-o', 'jsonpath={.spec.containers[0].image}'), image);
    await kubectl('delete', 'pod', 'dry-run', '--now');
  });

  it('Kubectl client Kubectl expose should create services for rc', bounds, async () => {
    await createController('exposed', 1);
    const forwards = async (service: string, port: number) => {
      const template = '{.spec.ports[0].port}:{.spec.ports[0].targetPort}';
      assert.equal(await kubectl('get', 'service', service, '-o', `jsonpath=${template}`), `${port}:8080`);
      await eventually('its page', async () => {
        const page = await kubectl('get', '--raw', `/api/v1/namespaces/default/services/${service}:${port}/proxy/`);
        return page === 'exposed\n';
      });
    };
    await kubectl('expose', 'rc', 'exposed', '--name=rm2', '--port=1234', '--target-port=8080');
    await forwards('rm2', 1234);
    await kubectl('expose', 'service', 'rm2', '--name=rm3', '--port=2345', '--target-port=8080');
    await forwards('rm3', 2345);
    await kubectl('delete', 'service', 'rm2', 'rm3');
    await kubectl('delete', 'rc', 'exposed');
  });

  it('Kubectl client Kubectl label should update the label on a resource', bounds, async () => {
    await createPod('labelled', ['sleep', '600']);
    const column = async () => kubectl('get', 'pod', 'labelled', '-L', 'testing-label', '--no-headers');
    await kubectl('label', 'pods', 'labelled', 'testing-label=testing-label-value');
    assert.match(await column(), /testing-label-value/);
    await kubectl('label', 'pods', 'labelled', 'testing-label-');
    assert.doesNotMatch(await column(), /testing-label-value/);
  });

  it('Kubectl client Kubectl patch should add annotations for pods in rc', bounds, async () => {
    await createController('patched', 1);
    const [pod = ''] = await readyPods('patched', 1);
    await kubectl('patch', 'pod', pod, '-p', '{"metadata":{"annotations":{"x":"y"}}}');
    assert.equal(
      await kubectl('get', 'pods', '-l', 'name=patched', '-o', 'jsonpath={.items[0].metadata.annotations.x}'),
      'y',
    );
    await kubectl('delete', 'rc', 'patched');
  });

  it("Kubectl client Kubectl replace should update a single-container pod's image", bounds, async () => {
    await createPod('replaced', ['sleep', '600']);
    const pod = JSON.parse(await kubectl('get', 'pod', 'replaced', '-o', 'json')) as {
      spec: { containers: { image: string }[] };
    };
    for (const container of pod.spec.containers) container.image = 'localhost/berth/another:1';
    const result = await cluster.tryKubectl(['replace', '-f', '-'], { input: JSON.stringify(pod) });
    assert.equal(result.exitCode, 0, result.stderr);
    assert.equal(
      await kubectl('get', 'pod', 'replaced', '-o', 'jsonpath={.spec.containers[0].image}'),
      'localhost/berth/another:1',
    );
    await kubectl('delete', 'pod', 'replaced', '--now');
  });

  it('Kubectl client Kubectl run pod should create a pod from an image when restart is Never', bounds, async () => {
    await kubectl('run', 'never', '--restart=Never', `--image=${image}`, '--', 'true');
    const template = '{.spec.restartPolicy} {.spec.containers[0].image}';
    assert.equal(await kubectl('get', 'pod', 'never', '-o', `jsonpath=${template}`), `Never ${image}`);
    await kubectl('delete', 'pod', 'never');
  });

  it('Kubectl logs logs should be able to retrieve and filter logs', bounds, async () => {
    await createPod('logging', [
      'sh',
      '-c',
      'i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; sleep 3; echo last; exec sleep 600',
    ]);
    const logs = (...args: string[]) => kubectl('logs', 'logging', 'logging', ...args);
    await eventually('all lines', async () => (await logs()).endsWith('last\n'));
    assert.equal(await logs('--tail=1'), 'last\n');
    assert.equal(await logs('--limit-bytes=1'), 'l');
    const [stamp = ''] = (await logs('--tail=1', '--timestamps')).split(' ');
    assert.ok(!Number.isNaN(Date.parse(stamp)), stamp);
    const count = (text: string) => text.split('\n').length;
    assert.equal(count(await logs('--since=24h')), 102);
    await eventually('nothing is recent any more', async () => (await logs('--since=1s')) === '');
    await kubectl('delete', 'pod', 'logging', '--now');
  });

  /** Starts `kubectl proxy`, and hands what it says of where it listens to `use`. */
  async function withProxy(args: string[], use: (said: string) => Promise<void>): Promise<void> {
    const proxy: ChildProcess = cluster.spawnKubectl('proxy', ...args);
    let said = '';
    proxy.stdout?.on('data', (chunk: Buffer) => {
      said += chunk.toString();
    });
    try {
      await eventually('where it listens', async () => said.includes('\n'));
      await use(said);
    } finally {
      proxy.kill();
    }
  }

  it('Kubectl client Proxy server should support proxy with --port 0', bounds, () =>
    withProxy(['--port=0', '--disable-filter'], async (said) => {
      const [, address = ''] = /Starting to serve on (\S+)/.exec(said) ?? [];
      const page = await cluster.fetch(`http://${address}/api/`);
      assert.match(page.stdout, /"APIVersions"/, page.stderr);
    }),
  );

  it('Kubectl client Proxy server should support --unix-socket=/path', bounds, async () => {
    const socketPath = join(work, 'proxy.sock');
    await withProxy([`--unix-socket=${socketPath}`], async () => {
      const text = await new Promise<string>((resolve, reject) => {
        request({ socketPath, path: '/api/', signal: AbortSignal.timeout(20_000) }, (response) => {
          response
            .setEncoding('utf8')
            .toArray()
            .then((parts) => resolve(parts.join('')), reject);
        })
          .on('error', reject)
          .end();
      });
      assert.match(text, /"APIVersions"/);
    });
  });

  it('ServiceAccounts should mount an API token into pods', bounds, async () => {
    await kubectl('create', 'serviceaccount', 'mounted');
    await createPod('mounting', ['sleep', '600'], { serviceAccountName: 'mounted' });
    const read = (name: string) => kubectl('exec', 'mounting', '--', 'cat', `${tokens}/${name}`);
    const review = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenReview',
      spec: { token: await read('token') },
    };
    const answer = await cluster.tryKubectl(['create', '-f', '-', '-o', 'json'], { input: JSON.stringify(review) });
    const { status } = JSON.parse(answer.stdout) as { status: { authenticated: boolean; user: { username: string } } };
    assert.deepEqual([status.authenticated, status.user.username], [true, 'system:serviceaccount:default:mounted']);
    const certificate = await kubectl('get', 'configmap', 'kube-root-ca.crt', '-o', 'jsonpath={.data.ca\\.crt}');
    assert.equal(await read('ca.crt'), certificate);
    assert.equal(await read('namespace'), 'default');
  });

  it('ServiceAccounts should mount projected service account token', bounds, async () => {
    const path = '/var/run/secrets/tokens/sa-token';
    await createPod('projecting', ['sleep', '600'], {
      containers: [
        {
          name: 'projecting',
          image,
          command: ['sleep', '600'],
          volumeMounts: [{ name: 'sa-token', mountPath: '/var/run/secrets/tokens', readOnly: true }],
        },
      ],
      volumes: [
        {
          name: 'sa-token',
          projected: {
            sources: [{ serviceAccountToken: { path: 'sa-token', expirationSeconds: 3600, audience: 'tested' } }],
          },
        },
      ],
    });
    const token = await kubectl('exec', 'projecting', '--', 'cat', path);
    const claims = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as {
      aud: string[];
      sub: string;
      exp: number;
      iat: number;
    };
    assert.deepEqual([claims.aud, claims.sub], [['tested'], 'system:serviceaccount:default:default']);
    assert.ok(claims.exp - claims.iat <= 3700);
    assert.match(await kubectl('exec', 'projecting', '--', 'ls', '-lL', path), /^-rw-r--r-- /);
  });
});
