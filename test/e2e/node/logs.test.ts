// `kubectl logs` with all its options, over restarts, rotations and the end of pods.
import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

describe('logs', { skip: clustersUnavailable() ?? false, concurrency: 6 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster({ configuration: { containerLogMaxSize: '2Mi' } });
  });
  after(() => node?.[Symbol.asyncDispose]());

  it('are cut as asked: the end, since when, how many bytes, with times, by stream', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'talking',
      spec: {
        containers: [
          script(
            'for i in 1 2 3 4; do echo out $i; echo err $i >&2; sleep 0.05; done; sleep 2; echo late; exec sleep 600',
          ),
        ],
      },
    });
    const read = (query: string) => node.logs(namespace, 'talking', query);
    await eventually('the last line', async () => (await read('')).endsWith('late\n'));
    const all = await read('timestamps=true');
    assert.equal(all.split('\n').length, 10);
    assert.match(all, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(Z|[+-]\d\d:\d\d) (out|err) 1\n/);
    assert.equal(await read('tailLines=1'), 'late\n');
    assert.equal(await read('tailLines=0'), '');
    assert.equal(await read('limitBytes=8'), (await read('')).slice(0, 8));
    assert.equal(await read('stream=Stdout'), 'out 1\nout 2\nout 3\nout 4\nlate\n');
    assert.equal(await read('stream=Stderr'), 'err 1\nerr 2\nerr 3\nerr 4\n');
    const lateTime =
      all
        .split('\n')
        .find((line) => line.endsWith(' late'))
        ?.split(' ')[0] ?? '';
    assert.equal(await read(`sinceTime=${encodeURIComponent(lateTime)}`), 'late\n');
    assert.equal((await read('sinceSeconds=3600')).split('\n').length, 10);
    for (const wrong of [
      'tailLines=-1',
      'limitBytes=0',
      'stream=Other',
      'stream=Stdout&tailLines=1',
      'sinceSeconds=0',
    ]) {
      await assert.rejects(read(wrong), { code: 'Invalid' }, wrong);
    }
    await assert.rejects(read('container=absent'), { code: 'BadRequest' });
  });

  it('of the previous run are kept after a restart', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'restarting',
      spec: {
        volumes: [{ name: 'v', emptyDir: {} }],
        containers: [
          script('[ -e /v/again ] && { echo second; exec sleep 600; }; touch /v/again; echo first; exit 1', {
            volumeMounts: [{ name: 'v', mountPath: '/v' }],
          }),
        ],
      },
    });
    await node.waitForPod(namespace, 'restarting', 'the second run', (pod) => {
      const status = containerStatus(pod);
      return status?.restartCount === 1 && status.state?.running !== undefined;
    });
    await eventually('both logs', async () => {
      const now = await node.logs(namespace, 'restarting');
      return now === 'second\n' && (await node.logs(namespace, 'restarting', 'previous=true')) === 'first\n';
    });
    const { name } = (await node.createPod(namespace, { spec: { containers: [script('exec sleep 600')] } })).metadata;
    await node.waitReady(namespace, name ?? '');
    await assert.rejects(node.logs(namespace, name ?? '', 'previous=true'), /previous terminated container "main"/);
  });

  it('of a pod that is being deleted can be read until it is gone', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'leaving',
      metadata: { name: 'leaving', finalizers: ['example.com/look'] },
      spec: {
        terminationGracePeriodSeconds: 20,
        containers: [script('trap "echo goodbye; exit 0" TERM; echo hello; while true; do sleep 0.1; done')],
      },
    });
    await node.waitReady(namespace, 'leaving');
    const follow = node.logs(namespace, 'leaving', 'follow=true');
    await eventually('the first line', async () => (await node.logs(namespace, 'leaving')) === 'hello\n');
    await node.client.delete(pods, { namespace, name: 'leaving' });
    assert.equal(await follow, 'hello\ngoodbye\n');
    await node.client.patch(pods, { namespace, name: 'leaving' }, 'merge', { metadata: { finalizers: null } });
    await node.waitGone(namespace, 'leaving');
  });

  it('keep lines whole that are longer than the runtime writes at once, and bytes that are no text', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'long',
      spec: {
        restartPolicy: 'Never',
        containers: [
          script(
            `awk 'BEGIN { for (i = 0; i < 30000; i++) printf "€%05d", i; print ""; print "next" }'; printf '\\377\\376\\n'`,
          ),
        ],
      },
    });
    await node.waitEnded(namespace, 'long');
    const expected = `${Array.from({ length: 30_000 }, (_, i) => `€${String(i).padStart(5, '0')}`).join('')}\nnext\n`;
    const text = await node.logs(namespace, 'long');
    assert.ok(text.startsWith(expected));
    const raw = await node.shell(namespace, 'long', 'true').catch((error: Error) => error.message);
    assert.match(raw, /completed pod|container not found|cannot exec/);
    const tail = await node.cluster.kubectl('logs', '-n', namespace, 'long', '--tail=2');
    assert.match(tail, /^next\n/);
  });

  it('are followed over rotations without a gap or a repeat, and stay within their size on disk', async () => {
    const namespace = await node.namespace();
    const lines = 60_000;
    const parts = 12;
    // In parts, so that a busy node finds time to rotate between them.
    const print = `awk -v from=$p 'BEGIN { for (i = from; i < from + ${lines / parts}; i++) printf "%d %0190d\\n", i, 0 }'`;
    const spell = `p=0; while [ $p -lt ${lines} ]; do ${print}; p=$((p + ${lines / parts})); sleep 1; done`;
    const { metadata } = await node.createPod(namespace, {
      name: 'chatty',
      spec: { restartPolicy: 'Never', containers: [script(`sleep 2; ${spell}; sleep 3`)] },
    });
    await node.waitForPod(namespace, 'chatty', 'it runs', ({ status }) => status?.phase === 'Running');
    const follow = node.cluster.spawnKubectl('logs', '-f', '-n', namespace, 'chatty');
    let next = 0;
    let rest = '';
    follow.stdout?.on('data', (chunk: Buffer) => {
      const parts = (rest + chunk.toString('latin1')).split('\n');
      rest = parts.pop() ?? '';
      for (const part of parts) {
        if (!part.startsWith(`${next} `)) next = Number.NaN;
        next += 1;
      }
    });
    const ended = new Promise((resolve) => follow.once('close', resolve));
    await node.waitEnded(namespace, 'chatty', 120_000);
    await ended;
    assert.equal(next, lines, 'every line came once, in order');
    const root = node.cluster.layout.nodes[0]?.podLogsDir ?? '';
    const directory = join(root, `${namespace}_chatty_${metadata.uid}`, 'main');
    const files = readdirSync(directory);
    assert.ok(files.length >= 3 && files.length <= 5, files.join(' '));
    assert.ok(
      files.some((name) => /^0\.log\.\d{8}-\d{6}\.gz$/.test(name)),
      files.join(' '),
    );
  });
});
