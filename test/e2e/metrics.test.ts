// The agent's endpoints as Debian's Prometheus and promtool meet them, and the queries of the documents.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const skip = clustersUnavailable() ?? false;
const docs = join(import.meta.dirname, '../../docs');
const image = 'localhost/berth/busybox:1';
const port = 9099;
const paths = ['/metrics', '/metrics/cadvisor', '/metrics/resource', '/metrics/probes'];

/** What promtool says of names that are not berth's to choose. */
const upstreamNames =
  /^(cadvisor_version_info|container_cpu_load_d_average_10s|container_memory_failcnt|kubelet_\w+_renew_errors|kubelet_evictions|kubelet_topology_manager_admission_duration_ms|kubelet_cpu_manager_exclusive_cpu_allocation_count) /;

const role = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name: 'prometheus' },
  rules: [
    { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list', 'watch'] },
    { apiGroups: [''], resources: ['nodes/metrics'], verbs: ['get'] },
  ],
};
const binding = {
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRoleBinding',
  metadata: { name: 'prometheus' },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'prometheus' },
  subjects: [{ kind: 'ServiceAccount', name: 'prometheus', namespace: 'default' }],
};
const pod = {
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: 'busy' },
  spec: {
    terminationGracePeriodSeconds: 1,
    volumes: [{ name: 'data', emptyDir: {} }],
    containers: [
      {
        name: 'main',
        image,
        command: ['sh', '-c', 'dd if=/dev/zero of=/data/file bs=1k count=64; sleep 3600'],
        readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
        resources: { limits: { cpu: '500m', memory: '64Mi' } },
        volumeMounts: [{ name: 'data', mountPath: '/data' }],
      },
    ],
  },
};
/** Its image is nowhere: operations of the runtime that fail. */
const broken = {
  ...pod,
  metadata: { name: 'broken' },
  spec: { containers: [{ name: 'main', image: 'localhost/none/none:1' }] },
};

describe('metrics on a cluster', { skip }, () => {
  let cluster: TestCluster;
  let work: string;
  let prometheus: ChildProcess | undefined;
  let node = '';

  async function query(expression: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const url = `http://127.0.0.1:${port}/api/v1/query?query=${encodeURIComponent(expression)}`;
    const { stdout, stderr } = await cluster.fetch(url);
    if (stdout === '') throw new Error(`${expression}: ${stderr}`);
    return JSON.parse(stdout).data.result;
  }

  before(async () => {
    cluster = await startTestCluster();
    work = await mkdtemp(join(tmpdir(), 'berth-prometheus-'));
    node = JSON.parse(await cluster.kubectl('get', 'nodes', '-o', 'json')).items[0].metadata.name;
    await cluster.kubectl('create', 'serviceaccount', 'prometheus');
    for (const object of [role, binding, pod, broken]) await cluster.apply(object);
    const token = join(work, 'token');
    await writeFile(token, (await cluster.kubectl('create', 'token', 'prometheus')).trim(), { mode: 0o600 });
    // The jobs of the documents; only where they run differs.
    const config = parse(await readFile(join(docs, 'prometheus/scrape.yaml'), 'utf8'), { merge: true });
    for (const job of config.scrape_configs) {
      job.authorization = { credentials_file: token };
      // Debian's build has no discovery through the API server.
      delete job.kubernetes_sd_configs;
      job.static_configs = [{ targets: ['127.0.0.1:10250'] }];
    }
    config.global = { scrape_interval: '1s', scrape_timeout: '1s', evaluation_interval: '1s' };
    config.rule_files = [join(docs, 'prometheus/alerts.yaml')];
    const file = join(work, 'prometheus.yaml');
    await writeFile(file, stringify(config));
    await cluster.kubectl('wait', '--for=condition=Ready', 'pod/busy', '--timeout=60s');
    prometheus = spawn(
      'nsenter',
      [
        `--net=${cluster.namespace.path}`,
        'prometheus',
        `--config.file=${file}`,
        `--storage.tsdb.path=${join(work, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
        '--log.level=error',
      ],
      { stdio: 'ignore' },
    );
    await eventually('every endpoint is scraped', async () => (await query('up == 1')).length === paths.length, 60_000);
    await eventually('rates are there', async () => (await query('rate(prober_probe_total[5m])')).length > 0, 60_000);
  });

  after(async () => {
    if (prometheus !== undefined && prometheus.exitCode === null) {
      const ended = once(prometheus, 'exit');
      prometheus.kill('SIGKILL');
      await ended;
    }
    if (work !== undefined) await rm(work, { recursive: true, force: true });
    await cluster?.[Symbol.asyncDispose]();
  });

  for (const path of paths) {
    it(`${path} is accepted by promtool`, async () => {
      const text = await cluster.kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy${path}`);
      const checked = await cluster.namespace.exec('promtool', ['check', 'metrics'], { input: text });
      const complaints = `${checked.stdout}\n${checked.stderr}`.split('\n').filter((line) => line.trim() !== '');
      assert.deepEqual(
        complaints.filter((line) => !upstreamNames.test(line)),
        [],
      );
    });
  }

  it('is alerted by rules whose expressions have data', async () => {
    const checked = await cluster.namespace.exec('promtool', ['check', 'rules', join(docs, 'prometheus/alerts.yaml')]);
    assert.equal(checked.exitCode, 0, checked.stderr);
    const { groups } = parse(await readFile(join(docs, 'prometheus/alerts.yaml'), 'utf8'));
    for (const { alert, expr } of groups.flatMap((group: { rules: object[] }) => group.rules)) {
      // Without its threshold: healthy nodes raise no alarm.
      const measured = expr.replace(/\s(==|>|<)\s[\d.e]+$/, '');
      await eventually(`${alert}: ${measured}`, async () => (await query(measured)).length > 0, 60_000);
    }
  });

  it('is shown by a dashboard whose every panel has data', async () => {
    const { panels } = JSON.parse(await readFile(join(docs, 'dashboards/berth-agent.json'), 'utf8'));
    for (const { title, targets } of panels) {
      for (const { expr } of targets) {
        await eventually(`${title}: ${expr}`, async () => (await query(expr)).length > 0, 60_000);
      }
    }
  });

  it('tells the disk of a pod by source', async () => {
    await eventually(
      'the volume is measured',
      async () => {
        const [volume] = await query('berth_pod_ephemeral_storage_bytes{pod="busy",source="volume"}');
        return Number(volume?.value[1] ?? 0) >= 65_536;
      },
      120_000,
    );
    assert.equal((await query('berth_pod_ephemeral_storage_bytes{pod="busy",source="logs"}')).length, 1);
  });

  it('lets a group be switched off and on without a restart', async () => {
    const empty = join(work, 'empty.json');
    await writeFile(empty, '{}');
    const put = (enabled: boolean) =>
      cluster.kubectl(
        'replace',
        '--raw',
        `/api/v1/nodes/${node}/proxy/metrics/groups/process?enabled=${enabled}`,
        '-f',
        empty,
      );
    const text = () => cluster.kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy/metrics/cadvisor`);
    assert.match(await text(), /^container_processes\{/m);
    await put(false);
    assert.doesNotMatch(await text(), /container_processes/);
    await put(true);
    assert.match(await text(), /^container_processes\{/m);
  });

  it('prices groups as they are, to a tenth', async () => {
    const get = (path: string) => cluster.kubectl('get', '--raw', `/api/v1/nodes/${node}/proxy${path}`);
    for (const [path, names] of [
      ['/metrics/cadvisor', ['cpu', 'memory', 'network', 'process', 'lifetime', 'machine', 'ephemeral_storage']],
      ['/metrics/resource', ['resource']],
      ['/metrics/probes', ['probes']],
    ] as const) {
      const text = await get(path);
      const series = text.split('\n').filter((line) => line !== '' && !line.startsWith('#')).length;
      const { groups } = JSON.parse(await get('/metrics/groups'));
      const own = groups.filter(({ group }: { group: string }) => names.some((name) => name === group));
      const sum = (field: string) =>
        own.reduce((total: number, price: Record<string, number>) => total + (price[field] ?? 0), 0);
      assert.ok(Math.abs(sum('series') - series) <= series * 0.1, `${path}: ${sum('series')} series of ${series}`);
      const bytes = Buffer.byteLength(text);
      assert.ok(Math.abs(sum('bytes') - bytes) <= bytes * 0.1, `${path}: ${sum('bytes')} bytes of ${bytes}`);
    }
  });

  it('gives nothing to whom nobody gave the right', async () => {
    await cluster.kubectl('create', 'serviceaccount', 'nobody');
    const token = (await cluster.kubectl('create', 'token', 'nobody')).trim();
    const url = 'https://127.0.0.1:10250/metrics';
    const status = async (...headers: string[]) =>
      (await cluster.namespace.exec('curl', ['-sk', '-o', '/dev/null', '-w', '%{http_code}', ...headers, url])).stdout;
    assert.equal(await status(), '401');
    assert.equal(await status('-H', `Authorization: Bearer ${token}`), '403');
  });
});
