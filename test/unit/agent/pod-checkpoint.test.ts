import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { createPodCheckpoint, selectKept } from '../../../agent/pod-source/pod-checkpoint.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const logger = pino({ level: 'silent' });

function pod(name: string, fields: Partial<Pod> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default', uid: `uid-${name}` },
    spec: { containers: [{ name: 'c', image: 'i' }], nodeName: 'n' },
    ...fields,
  } as Pod;
}

describe('the checkpoint of pods', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'berth-checkpoint-'));
    path = join(directory, 'berth/pods.json');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('gives back the pods last heard of, from a file that only root reads', async () => {
    let pods = [pod('a')];
    const clock = createFakeClock();
    const stop = new AbortController();
    const checkpoint = createPodCheckpoint(path, () => pods, clock, logger);
    const running = checkpoint.run(stop.signal);
    checkpoint.changed();
    pods = [pod('a'), pod('b')];
    checkpoint.changed();
    await clock.advance(1000);
    stop.abort();
    await running;
    assert.equal(statSync(path).mode & 0o777, 0o600);
    const kept = await createPodCheckpoint(path, () => [], clock, logger).read();
    assert.deepEqual(
      kept.map(({ metadata }) => metadata.name),
      ['a', 'b'],
    );
  });

  it('writes the last change also when the agent ends at once', async () => {
    const stop = new AbortController();
    const checkpoint = createPodCheckpoint(path, () => [pod('late')], createFakeClock(), logger);
    const running = checkpoint.run(stop.signal);
    checkpoint.changed();
    stop.abort();
    await running;
    assert.match(readFileSync(path, 'utf8'), /uid-late/);
  });

  it('writes what a full disk refused once there is room', async () => {
    const clock = createFakeClock();
    const stop = new AbortController();
    const checkpoint = createPodCheckpoint(path, () => [pod('a')], clock, logger);
    const running = checkpoint.run(stop.signal);
    // A file where the directory should be.
    writeFileSync(join(directory, 'berth'), '');
    checkpoint.changed();
    await clock.advance(1000);
    rmSync(join(directory, 'berth'));
    // Files take real time beside the clock.
    for (let turn = 0; turn < 200 && !existsSync(path); turn += 1) {
      await clock.advance(11_000);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.match(readFileSync(path, 'utf8'), /uid-a/);
    stop.abort();
    await running;
  });

  it('tries once more when the agent ends', async () => {
    const stop = new AbortController();
    const clock = createFakeClock();
    const checkpoint = createPodCheckpoint(path, () => [pod('last')], clock, logger);
    writeFileSync(join(directory, 'berth'), '');
    const running = checkpoint.run(stop.signal);
    checkpoint.changed();
    await clock.advance(1000);
    rmSync(join(directory, 'berth'));
    stop.abort();
    await running;
    assert.match(readFileSync(path, 'utf8'), /uid-last/);
  });

  it('keeps no pod that has ended or is being deleted', () => {
    const ended = pod('ended', { status: { phase: 'Succeeded' } });
    const deleted = pod('deleted');
    deleted.metadata.deletionTimestamp = '2026-01-01T00:00:00Z';
    assert.deepEqual(
      selectKept([pod('a'), ended, deleted]).map(({ metadata }) => metadata.name),
      ['a'],
    );
  });

  it('starts without pods from a file that is damaged or missing', async () => {
    const checkpoint = createPodCheckpoint(path, () => [], createFakeClock(), logger);
    assert.deepEqual(await checkpoint.read(), []);
    const damaged = join(directory, 'x.json');
    writeFileSync(damaged, '{"version":1,"pods":[{"metadata":{}}, 3');
    assert.deepEqual(await createPodCheckpoint(damaged, () => [], createFakeClock(), logger).read(), []);
    writeFileSync(damaged, '{"version":1,"pods":[{"metadata":{}}]}');
    assert.deepEqual(await createPodCheckpoint(damaged, () => [], createFakeClock(), logger).read(), []);
  });
});
