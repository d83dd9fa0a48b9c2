// Whatever happens to its calls, its watches and itself: the scheduler fills no node beyond its room, binds no pod twice,
// and in the end leaves no pod waiting that has a place.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { node, requestingPod } from '../../support/objects.ts';
import { schedulerCluster, seededRandom } from '../../support/scheduler-cluster.ts';
import { createSchedulingWorld, type SchedulingWorld } from '../../support/scheduling-world.ts';

const labels = { app: 'web' };
const labelSelector = { matchLabels: labels };

/** Shapes of pods; some depend on where others are. */
const shapes: (() => Partial<PodSpec>)[] = [
  () => ({}),
  () => ({ nodeSelector: { disk: 'ssd' } }),
  () => ({ tolerations: [{ operator: 'Exists' }] }),
  () => ({
    affinity: {
      podAntiAffinity: {
        requiredDuringSchedulingIgnoredDuringExecution: [{ labelSelector, topologyKey: 'kubernetes.io/hostname' }],
      },
    },
  }),
  () => ({
    topologySpreadConstraints: [{ maxSkew: 1, topologyKey: 'zone', whenUnsatisfiable: 'DoNotSchedule', labelSelector }],
  }),
];

function pick<T>(random: () => number, items: readonly T[]): T | undefined {
  return items[Math.floor(random() * items.length)];
}

function operate(world: SchedulingWorld, random: () => number, step: number): void {
  const names = [...world.pods.keys()];
  const newNode = () => {
    const index = Math.floor(random() * 6);
    const extra = random() < 0.3 ? { disk: 'ssd' } : {};
    const spec = random() < 0.15 ? { unschedulable: true } : {};
    world.setNode(
      node(`n${index}`, {
        labels: { zone: `z${index % 2}`, ...extra },
        spec,
        allocatable: { cpu: '4', memory: '8Gi', pods: '6' },
      }),
    );
  };
  const luck = random();
  if (luck < 0.5) {
    const shape = pick(random, shapes)?.() ?? {};
    const cpu = pick(random, ['500m', '1', '2', '3']) ?? '1';
    const priority = pick(random, [0, 0, 0, 10, 100]) ?? 0;
    world.setPod(requestingPod(`p${step}`, cpu, '100Mi', { metadata: { labels }, spec: { priority, ...shape } }));
  } else if (luck < 0.65) {
    const name = pick(random, names);
    if (name !== undefined) world.deletePod(name);
  } else if (luck < 0.75) world.finish();
  else if (luck < 0.83) newNode();
  else if (luck < 0.86 && world.nodes.size > 2) world.deleteNode(pick(random, [...world.nodes.keys()]) ?? '');
}

/** What a scheduler that sees everything for the first time would say about a pod that waits. */
function wouldFit(world: SchedulingWorld, pending: Pod): boolean {
  const fresh = schedulerCluster([...world.nodes.values()]);
  for (const pod of world.pods.values()) if ((pod.spec?.nodeName ?? '') !== '') fresh.cache.setPod(pod);
  return fresh.decide(pending).outcome === 'fits';
}

for (const seed of [1, 7, 42, 1234, 99_991]) {
  test(`holds its promises under faults, seed ${seed}`, { timeout: 120_000 }, async () => {
    const random = seededRandom(seed);
    const clock = createFakeClock();
    const world = createSchedulingWorld(clock, random);
    for (let index = 0; index < 3; index += 1) {
      world.setNode(
        node(`n${index}`, { labels: { zone: `z${index % 2}` }, allocatable: { cpu: '4', memory: '8Gi', pods: '6' } }),
      );
    }
    await world.restart();
    world.faults = 0.4;
    for (let step = 0; step < 400; step += 1) {
      operate(world, random, step);
      if (random() < 0.7) world.deliver(Math.ceil(random() * 4));
      if (random() < 0.3) await settle();
      if (random() < 0.1) await clock.advance(random() * 3000);
      if (random() < 0.02) await world.restart();
    }
    world.faults = 0;
    for (let round = 0; round < 40; round += 1) {
      world.deliver();
      await clock.advance(15_000);
      await settle();
      world.finish();
    }
    assert.deepEqual(world.broken, []);
    assert.ok(world.bindings > 20, `only ${world.bindings} pods were bound`);
    const waiting = [...world.pods.values()].filter(({ spec }) => (spec?.nodeName ?? '') === '');
    const forgotten = waiting.filter((pod) => wouldFit(world, pod)).map(({ metadata }) => metadata.name);
    assert.deepEqual(forgotten, []);
    await world.stop();
    assert.equal(clock.pending, 0);
  });
}
