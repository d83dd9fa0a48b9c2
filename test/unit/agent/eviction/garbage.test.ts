// Which images and dead containers go.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { keptRuns, planContainerGarbage } from '../../../../agent/container/plan-container-garbage.ts';
import { bytesToFree, type ImageRecord, selectAged, selectUnused } from '../../../../agent/image/plan-image-garbage.ts';
import { isSameImage, sandboxImageOf } from '../../../../agent/image/sandbox-image.ts';
import { ended, run, runtimeOf } from '../fixtures.ts';

const policy = { highPercent: 85, lowPercent: 80, minAgeMs: 120_000, maxAgeMs: 3_600_000 };
const image = (id: string, extra: Partial<ImageRecord> = {}): ImageRecord => ({
  id,
  bytes: 1,
  pinned: false,
  inUse: false,
  firstSeenMs: 0,
  lastUsedMs: 0,
  ...extra,
});
const nowMs = 10_000_000;
const ids = (list: readonly { id: string }[]) => list.map(({ id }) => id);

describe('garbage of images', () => {
  const cases: [number, number][] = [
    [16, 0],
    [15, 5],
    [1, 19],
  ];
  for (const [available, expected] of cases) {
    it(`frees ${expected} with ${available} of 100 left`, () =>
      assert.equal(bytesToFree(policy, { available, capacity: 100 }), expected));
  }

  it('is off with a high threshold of 100 %', () => {
    assert.equal(bytesToFree({ ...policy, highPercent: 100 }, { available: 0, capacity: 100 }), 0);
  });

  it('takes those unused for longest first, and spares pinned, used and new ones', () => {
    const images = [
      image('used-lately', { lastUsedMs: 9_000_000 }),
      image('pinned', { pinned: true }),
      image('in-use', { inUse: true }),
      image('new', { firstSeenMs: nowMs - 119_999 }),
      image('seen-later', { firstSeenMs: 5 }),
      image('never-used'),
    ];
    assert.deepEqual(ids(selectUnused(images, policy.minAgeMs, nowMs)), ['never-used', 'seen-later', 'used-lately']);
  });

  it('takes what was unused for too long, counted from the start of the agent', () => {
    const images = [
      image('old'),
      image('lately', { lastUsedMs: nowMs - 3_600_000 }),
      image('pinned', { pinned: true }),
    ];
    assert.deepEqual(ids(selectAged(images, policy, { nowMs, sinceMs: 0 })), ['old']);
    assert.deepEqual(ids(selectAged(images, policy, { nowMs, sinceMs: nowMs - 3_600_000 })), []);
    assert.deepEqual(ids(selectAged(images, { ...policy, maxAgeMs: 0 }, { nowMs, sinceMs: 0 })), []);
  });
});

describe('garbage of containers', () => {
  const pods = [runtimeOf([run('a', {}, 3), ended('a', 1, 2), ended('a', 1, 1), ended('a', 1, 0), ended('b', 0)])];
  const plan = (maxPerContainer: number, maxTotal: number, hasEnded = false, minAgeMs = 0) =>
    ids(
      planContainerGarbage(
        pods,
        { minAgeMs, maxPerContainer, maxTotal },
        { nowMs: 1_000_000, hasEnded: () => hasEnded },
      ),
    );

  it('keeps the newest dead one of each', () => assert.deepEqual(plan(1, -1), ['a-1', 'a-0']));
  it('keeps all without a limit', () => assert.deepEqual(plan(-1, -1), []));
  it('keeps young ones', () => assert.deepEqual(plan(0, -1, false, 2_000_000), []));
  it('keeps as many on the node as it may, one of each for as long as possible', () =>
    assert.deepEqual(plan(-1, 2), ['a-1', 'a-0']));
  it('takes everything of pods that have ended, when it is asked to', () =>
    assert.deepEqual(plan(1, -1, true), ['a-2', 'a-1', 'a-0', 'b-0']));
});

describe('ended runs that stay until dead containers are collected', () => {
  const cases: [number, number, number][] = [
    [1, 0, 1],
    [0, 0, 1],
    [3, 0, 3],
    [-1, 0, Number.POSITIVE_INFINITY],
    [1, 60_000, Number.POSITIVE_INFINITY],
  ];
  for (const [maxPerContainer, minAgeMs, expected] of cases) {
    it(`are ${expected} with a limit of ${maxPerContainer} and an age of ${minAgeMs} ms`, () =>
      assert.equal(keptRuns({ maxPerContainer, minAgeMs, maxTotal: -1 }), expected));
  }
});

describe('the image of sandboxes', () => {
  it('is what the runtime is configured with', () => {
    assert.equal(
      sandboxImageOf({ config: '{"sandboxImage":"registry.k8s.io/pause:3.6"}' }),
      'registry.k8s.io/pause:3.6',
    );
    for (const info of [{}, { config: '' }, { config: '{' }, { config: '[]' }, { config: '{"sandboxImage":""}' }]) {
      assert.equal(sandboxImageOf(info as Record<string, string>), undefined);
    }
  });

  it('is known by all of its names', () => {
    assert.equal(isSameImage('docker.io/library/pause:latest', 'pause'), true);
    assert.equal(isSameImage('registry.k8s.io/pause:3.6', 'registry.k8s.io/pause:3.7'), false);
    assert.equal(isSameImage('sha256:abc', 'pause'), false);
  });
});
