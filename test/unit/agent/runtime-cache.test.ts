import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { createRuntimeCache } from '../../../agent/runtime-cache/runtime-cache.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakeRuntime } from '../../support/fake-runtime.ts';

const labels = { 'io.kubernetes.pod.uid': 'u', 'io.kubernetes.pod.name': 'p', 'io.kubernetes.pod.namespace': 'n' };

function start() {
  const clock = createFakeClock();
  const fake = createFakeRuntime({ clock, images: {}, pullError: () => '', run: () => ({}), exec: () => 0 });
  const changes: string[] = [];
  const cache = createRuntimeCache({
    runtime: fake.runtime,
    clock,
    logger: pino({ level: 'silent' }),
    relistPeriodMs: 1000,
  });
  cache.subscribe((uid) => void changes.push(uid));
  return { clock, fake, cache, changes };
}

async function addContainer(runtime: ReturnType<typeof start>['fake']['runtime']): Promise<string> {
  const config = { labels: { ...labels, 'io.kubernetes.container.name': 'c' }, metadata: { name: 'c' } };
  return runtime.createContainer('sandbox-0', config, {});
}

describe('createRuntimeCache', () => {
  it('tells a change once, and nothing when nothing changed', async () => {
    const { fake, cache, changes } = start();
    await fake.runtime.runPodSandbox({ labels }, '');
    await cache.relist();
    await cache.relist();
    assert.deepEqual(changes, ['u']);
    const id = await addContainer(fake.runtime);
    await fake.runtime.startContainer(id);
    await cache.relist();
    assert.deepEqual(changes, ['u', 'u']);
    assert.equal(cache.get('u')?.containers[0]?.state, 'running');
  });

  it('forgets a pod that the runtime no longer has', async () => {
    const { fake, cache, changes } = start();
    await fake.runtime.runPodSandbox({ labels }, '');
    await cache.relist();
    await fake.runtime.removePodSandbox('sandbox-0');
    await cache.relist();
    assert.equal(cache.get('u'), undefined);
    assert.deepEqual(changes, ['u', 'u']);
  });

  it('never lets an older answer replace a newer one', async () => {
    const { fake, cache } = start();
    await fake.runtime.runPodSandbox({ labels }, '');
    const list = fake.runtime.listContainers;
    const held = Promise.withResolvers<void>();
    let first = true;
    fake.runtime.listContainers = async (...args) => {
      const answer = await list(...args);
      if (first) {
        first = false;
        await held.promise;
      }
      return answer;
    };
    const slow = cache.relist();
    await addContainer(fake.runtime);
    await cache.refresh('u');
    assert.equal(cache.get('u')?.containers.length, 1);
    held.resolve();
    await slow;
    assert.equal(cache.get('u')?.containers.length, 1);
  });

  it('does not bring back a pod that was found gone meanwhile', async () => {
    const { fake, cache } = start();
    await fake.runtime.runPodSandbox({ labels }, '');
    await cache.relist();
    const id = await addContainer(fake.runtime);
    const list = fake.runtime.listContainers;
    const held = Promise.withResolvers<void>();
    let first = true;
    fake.runtime.listContainers = async (...args) => {
      const answer = await list(...args);
      if (first) {
        first = false;
        await held.promise;
      }
      return answer;
    };
    const slow = cache.relist();
    await fake.runtime.removeContainer(id);
    await fake.runtime.removePodSandbox('sandbox-0');
    await cache.refresh('u');
    held.resolve();
    await slow;
    assert.equal(cache.get('u'), undefined);
  });

  it('leaves out what is not a pod of a node agent', async () => {
    const { fake, cache } = start();
    await fake.runtime.runPodSandbox({ labels: { other: 'x' } }, '');
    await cache.relist();
    assert.deepEqual(cache.all(), []);
  });

  it('leaves a container behind whose status hangs, and says that the pod is not known', async () => {
    const { clock, fake, cache, changes } = start();
    await fake.runtime.runPodSandbox({ labels }, '');
    await addContainer(fake.runtime);
    const other = { ...labels, 'io.kubernetes.pod.uid': 'v' };
    await fake.runtime.runPodSandbox({ labels: other }, '');
    const { containerStatus } = fake.runtime;
    const gate = Promise.withResolvers<void>();
    fake.runtime.containerStatus = async (...args) => {
      await gate.promise;
      return containerStatus(...args);
    };
    const relisting = cache.relist();
    await clock.advance(2000);
    await relisting;
    assert.deepEqual(changes, ['v']);
    assert.equal(cache.get('u'), undefined);
    assert.equal(cache.isPending('u'), true);
    assert.equal(cache.isPending('v'), false);
    gate.resolve();
    await new Promise(setImmediate);
    assert.equal(cache.isPending('u'), false);
    assert.equal(cache.get('u')?.containers.length, 1);
    assert.deepEqual(changes, ['v', 'u']);
  });
});
