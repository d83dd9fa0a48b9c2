// What must hold whatever happens: operations at random, calls that fail, watches that break, controllers that are
// killed in the middle of their work. A watcher looks at every moment; the seed of a failure is printed.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Pod, PodTemplateSpec } from '#kube/api/generated/core-v1.ts';
import {
  controllerrevisions,
  daemonsets,
  deployments,
  jobs,
  poddisruptionbudgets,
  pods,
  replicasets,
  statefulsets,
} from '#kube/api/generated/resources.ts';
import { isPodActive, isPodReady } from '#kube/api/pod-state.ts';
import { isNotFound, isTooManyRequests } from '#kube/errors/status-error.ts';
import { eventually } from '../../support/eventually.ts';
import { type FaultyCluster, randomOf, startFaultyCluster } from '../../support/faulty-cluster.ts';

const namespace = 'default';
const longMs = 120_000;
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
const random = randomOf(seed);
const pick = (count: number) => Math.floor(random() * count);

let cluster: FaultyCluster;

function template(app: string, image: string, annotations = {}): PodTemplateSpec {
  return { metadata: { labels: { app }, annotations }, spec: { containers: [{ name: 'app', image }] } };
}

function told(type: string, { metadata, spec, status }: Pod): string {
  const state = `${status?.phase} ${isPodReady({ status: status ?? {} }) ? 'ready' : 'not ready'}`;
  const leaving = metadata.deletionTimestamp === undefined ? '' : ' leaving';
  const where = `${spec?.containers[0]?.image} on ${spec?.nodeName ?? 'no node'}`;
  return `${metadata.resourceVersion} ${type} ${metadata.name}: ${where}, ${state}${leaving}`;
}

/** Follows the pods of a label and calls `look` after each change. */
async function watchPods(app: string, look: (all: readonly Pod[], change: { type: string; pod: Pod }) => void) {
  const stop = new AbortController();
  const labelSelector = `app=${app}`;
  const { metadata, items } = await cluster.client.list(pods, { namespace, labelSelector });
  const known = new Map(items.map((pod) => [pod.metadata.uid ?? '', pod]));
  const faults: string[] = [];
  /** What was seen last, to be told with the first fault. */
  const trail: string[] = [];
  const watching = (async () => {
    const options = { namespace, labelSelector, resourceVersion: metadata?.resourceVersion, signal: stop.signal };
    for await (const event of cluster.client.watch(pods, options)) {
      if (event.type === 'ERROR' || event.type === 'BOOKMARK') continue;
      const { uid = '' } = event.object.metadata;
      if (event.type === 'DELETED') known.delete(uid);
      else known.set(uid, event.object);
      trail.push(told(event.type, event.object));
      try {
        look([...known.values()], { type: event.type, pod: event.object });
      } catch (error) {
        if (faults.length === 0) faults.push(...trail.slice(-25));
        faults.push((error as Error).message);
      }
    }
  })().catch((error: unknown) => {
    if (!stop.signal.aborted) faults.push(`the watch ended: ${String(error)}`);
  });
  return {
    faults,
    end: async () => {
      stop.abort();
      await watching;
      assert.deepEqual(faults, [], `FUZZ_SEED=${seed}`);
    },
  };
}

const lostCreates = () => cluster.faults.lost.get('create pods') ?? 0;
const podsOf = async (app: string) =>
  (await cluster.client.list(pods, { namespace, labelSelector: `app=${app}` })).items;

/** Kills controllers now and then while `work` goes on. */
async function amidKills(work: () => Promise<void>): Promise<void> {
  let isOver = false;
  const killing = (async () => {
    while (!isOver) {
      await new Promise((resolve) => setTimeout(resolve, 300 + pick(900)));
      if (!isOver) await cluster.restart();
    }
  })();
  try {
    await work();
  } finally {
    isOver = true;
    await killing;
  }
}

describe(`properties of workloads (FUZZ_SEED=${seed})`, () => {
  before(async () => {
    cluster = await startFaultyCluster(random, 0.08);
  });
  after(async () => cluster?.close());

  test('a deployment keeps its surge and its availability at every moment of its rollouts', async () => {
    const name = 'web';
    const key = { namespace, name };
    let size = 4;
    let most = size;
    let least = 0;
    const bounds = { maxSurge: 2, maxUnavailable: 1 };
    const settled = async (image: string) =>
      await eventually(
        `${size} pods of ${image}`,
        async () => {
          const { status, metadata } = await cluster.client.get(deployments, key);
          const active = (await podsOf(name)).filter(isPodActive);
          const isThere =
            active.length === size &&
            active.every((pod) => isPodReady(pod) && pod.spec?.containers[0]?.image === image);
          const isTold = status?.observedGeneration === metadata.generation && status?.availableReplicas === size;
          return isThere && isTold && status?.replicas === size;
        },
        longMs,
      );
    await cluster.client.create(deployments, namespace, {
      metadata: { name },
      spec: {
        replicas: size,
        selector: { matchLabels: { app: name } },
        strategy: { type: 'RollingUpdate', rollingUpdate: bounds },
        template: template(name, 'app:0'),
      },
    });
    await settled('app:0');
    let lostBefore = lostCreates();
    const watcher = await watchPods(name, (all) => {
      const active = all.filter(isPodActive);
      // A creation of which the controller never heard is made up for as soon as it is seen.
      const allowed = most + bounds.maxSurge + lostCreates() - lostBefore;
      assert.ok(active.length <= allowed, `${active.length} pods where ${allowed} are allowed`);
      const ready = active.filter(isPodReady).length;
      assert.ok(ready >= least, `${ready} pods ready where ${least} are wanted`);
    });
    await amidKills(async () => {
      for (let round = 1; round <= 5; round += 1) {
        const next = round % 2 === 0 ? 2 + pick(6) : size;
        lostBefore = lostCreates();
        most = Math.max(size, next);
        least = Math.min(size, next) - bounds.maxUnavailable;
        size = next;
        const image = `app:${round}`;
        const containers = [{ name: 'app', image }];
        const spec = { replicas: size, template: { spec: { containers } } };
        await cluster.client.patch(deployments, key, 'strategic', { spec });
        await settled(image);
      }
    });
    await watcher.end();
    await cluster.client.delete(deployments, key, { propagationPolicy: 'Background' });
  });

  test('a stateful set comes up in order, goes in the reverse, and updates from its end', async () => {
    const name = 'db';
    const key = { namespace, name };
    const ordinal = (pod: Pod) => Number(pod.metadata.name.slice(name.length + 1));
    let mode: 'up' | 'down' | 'update' = 'up';
    const well = (pod: Pod) => isPodReady(pod) && isPodActive(pod);
    const watcher = await watchPods(name, (all, { type, pod }) => {
      const own = ordinal(pod);
      if (type === 'ADDED' && mode === 'up') {
        const before = all.filter((other) => ordinal(other) < own && well(other)).length;
        assert.equal(before, own, `${pod.metadata.name} came while only ${before} before it were ready`);
      }
      const isLeaving = pod.metadata.deletionTimestamp !== undefined && type === 'MODIFIED';
      if (isLeaving && mode === 'down') {
        const later = all.filter((other) => ordinal(other) > own);
        assert.equal(
          later.length,
          0,
          `${pod.metadata.name} goes while ${later.map(({ metadata }) => metadata.name)} is there`,
        );
      }
      if (mode === 'update') {
        const missing = all.filter((other) => !well(other)).length;
        assert.ok(missing <= 1, `${missing} pods are not ready at once`);
      }
    });
    const settled = async (size: number, image: string) =>
      await eventually(
        `${size} pods of ${image}`,
        async () => {
          const found = await podsOf(name);
          const { status } = await cluster.client.get(statefulsets, key);
          const isThere =
            found.length === size && found.every((pod) => well(pod) && pod.spec?.containers[0]?.image === image);
          return isThere && status?.currentRevision === status?.updateRevision && (status?.readyReplicas ?? 0) === size;
        },
        longMs,
      );
    await amidKills(async () => {
      await cluster.client.create(statefulsets, namespace, {
        metadata: { name },
        spec: {
          replicas: 3,
          serviceName: name,
          selector: { matchLabels: { app: name } },
          template: template(name, 'app:0'),
        },
      });
      await settled(3, 'app:0');
      for (const size of [5, 1 + pick(3), 4]) {
        const current = (await podsOf(name)).length;
        mode = size >= current ? 'up' : 'down';
        await cluster.client.patch(statefulsets, key, 'merge', { spec: { replicas: size } });
        await settled(size, 'app:0');
      }
      mode = 'update';
      const containers = [{ name: 'app', image: 'app:1' }];
      await cluster.client.patch(statefulsets, key, 'strategic', { spec: { template: { spec: { containers } } } });
      await settled(4, 'app:1');
    });
    await watcher.end();
    await cluster.client.delete(statefulsets, key, { propagationPolicy: 'Background' });
  });

  test('a daemon set has one pod on each node, and misses no more than it may while it is updated', async () => {
    const name = 'each';
    const key = { namespace, name };
    const settled = async (image: string) =>
      await eventually(
        `${image} on both nodes`,
        async () => {
          const found = await podsOf(name);
          const on = new Set(found.map(({ spec }) => spec?.nodeName));
          const isThere = found.length === 2 && on.size === 2;
          return (
            isThere &&
            found.every((pod) => isPodReady(pod) && isPodActive(pod) && pod.spec?.containers[0]?.image === image)
          );
        },
        longMs,
      );
    const spec = { selector: { matchLabels: { app: name } }, template: template(name, 'app:0') };
    await cluster.client.create(daemonsets, namespace, { metadata: { name }, spec });
    await settled('app:0');
    const lostBefore = lostCreates();
    const watcher = await watchPods(name, (all) => {
      const active = all.filter(isPodActive);
      assert.ok(active.length <= 2 + lostCreates() - lostBefore, `${active.length} pods on two nodes`);
      const ready = active.filter(isPodReady).length;
      assert.ok(ready >= 1, 'both nodes are without a pod that is ready');
    });
    await amidKills(async () => {
      for (const image of ['app:1', 'app:2', 'app:3']) {
        const containers = [{ name: 'app', image }];
        await cluster.client.patch(daemonsets, key, 'strategic', { spec: { template: { spec: { containers } } } });
        await settled(image);
      }
    });
    await watcher.end();
    await cluster.client.delete(daemonsets, key, { propagationPolicy: 'Background' });
  });

  test('evictions never break a disruption budget', async () => {
    const name = 'guarded';
    const selector = { matchLabels: { app: name } };
    await cluster.client.create(replicasets, namespace, {
      metadata: { name },
      spec: { replicas: 5, selector, template: template(name, 'app:0') },
    });
    await cluster.client.create(poddisruptionbudgets, namespace, {
      metadata: { name },
      spec: { minAvailable: 3, selector },
    });
    await eventually('all are ready', async () => (await podsOf(name)).filter(isPodReady).length >= 5, longMs);
    let evicted = 0;
    const watcher = await watchPods(name, (all) => {
      const healthy = all.filter((pod) => isPodReady(pod) && isPodActive(pod)).length;
      assert.ok(healthy >= 3, `${healthy} pods are healthy`);
    });
    await amidKills(async () => {
      const untilMs = Date.now() + longMs;
      while (evicted < 12 && Date.now() < untilMs) {
        const found = (await podsOf(name)).filter(isPodActive);
        const victim = found[pick(found.length)];
        if (victim === undefined) continue;
        const own = { namespace, name: victim.metadata.name };
        const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: own };
        try {
          await cluster.client.createSubresource(pods, own, 'eviction', body, { timeoutMs: 500 });
          evicted += 1;
        } catch (error) {
          const isExpected = isTooManyRequests(error) || isNotFound(error) || (error as Error).name === 'TimeoutError';
          if (!isExpected) throw error;
        }
      }
    });
    await watcher.end();
    assert.ok(evicted >= 12, `only ${evicted} evictions were granted`);
    await cluster.client.delete(replicasets, { namespace, name }, { propagationPolicy: 'Background' });
  });

  test('a job counts each completion once and keeps its parallelism', async () => {
    const name = 'sum';
    const lostBefore = lostCreates();
    const watcher = await watchPods(name, (all) => {
      const active = all.filter(isPodActive).length;
      const allowed = 4 + lostCreates() - lostBefore;
      assert.ok(active <= allowed, `${active} pods at once where ${allowed} are allowed`);
    });
    await amidKills(async () => {
      const annotations = { 'test/outcome': 'succeed', 'test/after-ms': '30' };
      const { metadata, spec } = template(name, 'app:0', annotations);
      await cluster.client.create(jobs, namespace, {
        metadata: { name },
        spec: {
          completions: 24,
          parallelism: 4,
          completionMode: 'Indexed',
          template: { metadata, spec: { containers: [], ...spec, restartPolicy: 'Never' } },
        },
      });
      const job = await eventually(
        'the job is complete',
        async () => {
          const found = await cluster.client.get(jobs, { namespace, name });
          const isDone = found.status?.conditions?.some(({ type, status }) => type === 'Complete' && status === 'True');
          return isDone === true ? found : undefined;
        },
        longMs,
      );
      assert.deepEqual(
        [job.status?.succeeded, job.status?.failed, job.status?.completedIndexes],
        [24, undefined, '0-23'],
      );
    });
    await watcher.end();
    await cluster.client.delete(jobs, { namespace, name }, { propagationPolicy: 'Background' });
  });

  test('nothing is left of workloads that were deleted', async () => {
    await amidKills(async () => {
      for (const resource of [pods, replicasets, controllerrevisions]) {
        await eventually(
          `no ${resource.plural} are left`,
          async () => {
            const { items } = await cluster.client.list<never>(resource as never, { namespace });
            return items.length === 0;
          },
          longMs,
        );
      }
    });
  });
});
