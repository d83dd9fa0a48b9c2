// The parts that act on pressure, with everything around them made up.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { pino } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { createEvictionManager } from '../../../../agent/eviction/eviction-manager.ts';
import { type EvictionRecord, openEvictionRecords } from '../../../../agent/eviction/eviction-records.ts';
import { parseThresholds } from '../../../../agent/eviction/thresholds.ts';
import { createImageGarbage, type ImageGarbageOptions } from '../../../../agent/image/image-garbage.ts';
import type { EndReason } from '../../../../agent/sync/pod-work.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { container, podOf } from '../fixtures.ts';

const logger = pino({ level: 'silent' });
const stop = new AbortController().signal;

it('keeps the record of an eviction as soon as the disk has room for it', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'evict-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'full', 'evictions.json');
  // A file where the directory should be.
  writeFileSync(join(directory, 'full'), '');
  const records = await openEvictionRecords(path, logger);
  await records.add({ uid: 'u', signal: 'nodefs.available', ranking: [] } as unknown as EvictionRecord);
  rmSync(join(directory, 'full'));
  await records.retry();
  assert.equal((await openEvictionRecords(path, logger)).of('u')?.signal, 'nodefs.available');
});

async function manage(t: TestContext, pods: Pod[], available: () => number) {
  const directory = mkdtempSync(join(tmpdir(), 'evict-'));
  t.after(() => rmSync(directory, { recursive: true }));
  const ended: [string, EndReason][] = [];
  const told: string[] = [];
  const reclaimed: string[] = [];
  const records = await openEvictionRecords(join(directory, 'evictions.json'), logger);
  const manager = createEvictionManager({
    thresholds: parseThresholds({
      hard: { 'nodefs.available': '100' },
      soft: { 'nodefs.available': '200' },
      softGrace: { 'nodefs.available': '0s' },
      minReclaim: {},
      enforcePods: false,
    }),
    transitionMs: 0,
    maxPodGraceSeconds: 20,
    observe: async () => ({
      seen: new Map([['nodefs.available', { available: available(), capacity: 1000 }]]),
      layout: 'one',
    }),
    observeMemory: () => new Map(),
    pods: () => pods,
    isGone: () => true,
    measure: async () => () => undefined,
    reclaim: {
      containers: async () => void reclaimed.push('containers'),
      images: async () => void reclaimed.push('images'),
    },
    end: (uid, reason) => void ended.push([uid, reason]),
    records,
    recordPod: (pod, reason) => void told.push(`${reason} ${pod.metadata.name}`),
    recordNode: (_, reason, message) => void told.push(`${reason}: ${message}`),
    changed: () => void told.push('changed'),
    clock: createFakeClock(0),
    logger,
  });
  return { manager, ended, told, reclaimed, records };
}

const pod = (name: string, extra: Partial<Pod['spec']> = {}) =>
  podOf({ containers: [container('c')], ...extra }, { name, uid: name });

describe('the eviction manager', () => {
  it('ends one pod at a time, and never a critical one', async (t) => {
    const pods = [pod('critical', { priority: 2_000_000_000 }), pod('important', { priority: 9 }), pod('plain')];
    const { manager, ended, told, records } = await manage(t, pods, () => 50);
    await manager.synchronize(stop);
    assert.deepEqual(
      ended.map(([uid, { reason, graceSeconds }]) => [uid, reason, graceSeconds]),
      [['plain', 'Evicted', 1]],
    );
    assert.deepEqual(told, [
      'changed',
      'EvictionThresholdMet: Attempting to reclaim ephemeral-storage',
      'Evicted plain',
    ]);
    const record = records.of('plain');
    assert.deepEqual(
      record?.ranking.map(({ name, critical }) => [name, critical]),
      [
        ['plain', false],
        ['important', false],
        ['critical', true],
      ],
    );
    assert.deepEqual([record?.reclaimed, record?.threshold.kind], [['containers', 'images'], 'hard']);
    assert.deepEqual(manager.pressure(), { memory: false, disk: true, pids: false });
  });

  it('leaves critical pods alone where there are no others', async (t) => {
    const { manager, ended } = await manage(t, [pod('critical', { priority: 2_000_000_000 })], () => 50);
    assert.equal(await manager.synchronize(stop), undefined);
    assert.deepEqual(ended, []);
  });

  it('ends no pod where freeing what nobody uses was enough', async (t) => {
    const { manager, ended, reclaimed } = await manage(t, [pod('plain')], () => (reclaimed.length === 0 ? 50 : 500));
    await manager.synchronize(stop);
    assert.deepEqual([ended, reclaimed], [[], ['containers', 'images']]);
  });

  it('gives pods time for a soft threshold, but no more than they ask for', async (t) => {
    const { manager, ended } = await manage(t, [pod('plain', { terminationGracePeriodSeconds: 7 })], () => 150);
    await manager.synchronize(stop);
    assert.equal(ended[0]?.[1].graceSeconds, 7);
    const patient = await manage(t, [pod('plain', { terminationGracePeriodSeconds: 90 })], () => 150);
    await patient.manager.synchronize(stop);
    assert.equal(patient.ended[0]?.[1].graceSeconds, 20);
  });
});

describe('the collector of images', () => {
  const image = (id: string, pinned = false) => ({
    id,
    repoTags: [`x.io/${id}:1`],
    repoDigests: [],
    size: 1,
    uid: null,
    username: '',
    spec: null,
    pinned,
  });

  function collector(highPercent: number) {
    const told: string[] = [];
    const removed: string[] = [];
    const clock = createFakeClock(1_000_000);
    const images = {
      listImages: async () =>
        [image('unused'), image('used'), image('pinned', true), image('pause')].filter(
          ({ id }) => !removed.includes(id),
        ),
      imageFsInfo: async () => ({ imageFilesystems: [{ fsId: { mountpoint: '/' } }], containerFilesystems: [] }),
      removeImage: async ({ image: id }: { image?: string }) => void removed.push(id ?? ''),
    } as unknown as ImageGarbageOptions['images'];
    const runtime = {
      listContainers: async () => [{ imageRef: 'used', imageId: '', image: null }],
      status: async () => ({ info: { config: '{"sandboxImage":"x.io/pause:1"}' } }),
    } as unknown as ImageGarbageOptions['runtime'];
    const garbage = createImageGarbage({
      images,
      runtime,
      policy: { highPercent, lowPercent: 0, minAgeMs: 0, maxAgeMs: 0 },
      record: (_, reason) => void told.push(reason),
      clock,
      logger,
    });
    return { garbage, told, removed, clock };
  }

  it('removes what nobody uses, and says so when that was not enough', async () => {
    const { garbage, told, removed } = collector(1);
    await assert.rejects(garbage.collect(stop), /Failed to garbage collect required amount of images/);
    assert.deepEqual([removed, told], [['unused'], ['FreeDiskSpaceFailed']]);
  });

  it('removes nothing where it is off, and everything unused when it is told to', async () => {
    const { garbage, removed } = collector(100);
    await garbage.collect(stop);
    assert.deepEqual(removed, []);
    assert.equal(await garbage.removeUnused(stop), 1);
    assert.deepEqual(removed, ['unused']);
  });
});
