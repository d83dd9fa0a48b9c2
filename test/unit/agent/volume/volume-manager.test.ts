import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { VolumeError } from '../../../../agent/volume/payload.ts';
import type { BoundClaim, PreparedVolume, VolumeKind, VolumeRequest } from '../../../../agent/volume/volume-kind.ts';
import { createVolumeManager } from '../../../../agent/volume/volume-manager.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { createFakeMounter } from '../../../support/fake-mounter.ts';
import { container, podOf } from '../fixtures.ts';

const signal = new AbortController().signal;

function podWith(volumes: Volume[], uid = 'uid-1'): Pod {
  const volumeMounts = volumes.map(({ name }) => ({ name, mountPath: `/${name}` }));
  return podOf({ containers: [container('c', { volumeMounts })], volumes }, { uid });
}

function boundTo(name: string, accessModes = ['ReadWriteOnce']): BoundClaim {
  return {
    claim: { metadata: { name: 'claim' }, spec: {} } as PersistentVolumeClaim,
    volume: { metadata: { name }, spec: { accessModes, hostPath: { path: '/x' } } } as PersistentVolume,
    readOnly: false,
  };
}

describe('createVolumeManager', () => {
  let rootDir = '';
  beforeEach(() => {
    rootDir = mkdtempSync(join(tmpdir(), 'volume-manager-'));
  });
  afterEach(() => rmSync(rootDir, { recursive: true, force: true }));

  interface Options {
    setUp?: (request: VolumeRequest) => Promise<PreparedVolume>;
    claim?: (volume: Volume) => Promise<BoundClaim | undefined>;
    isLive?: boolean;
  }

  function start(options: Options = {}) {
    const clock = createFakeClock();
    const events: string[] = [];
    const setUps: string[] = [];
    const mounter = createFakeMounter();
    const kind: VolumeKind = {
      plugin: 'test/kind',
      supports: () => true,
      isLive: () => options.isLive === true,
      async setUp(request) {
        setUps.push(request.specName);
        return options.setUp?.(request) ?? { hostPath: `/data/${request.specName}`, readOnly: false };
      },
    };
    const manager = createVolumeManager({
      rootDir,
      mounter,
      kinds: {
        find: (request) => {
          if (request.volume.gcePersistentDisk !== undefined) {
            throw new VolumeError(`failed to get Plugin from volumeSpec for volume "v" err=no volume plugin matched`);
          }
          return kind;
        },
        check: () => undefined,
        release: async () => undefined,
        remove: async () => undefined,
      },
      claims: { read: async (_, volume) => options.claim?.(volume) },
      clock,
      logger: pino({ level: 'silent' }),
      record: (_, type, reason, message) => void events.push(`${type} ${reason} ${message}`),
    });
    return { clock, events, setUps, mounter, manager };
  }

  it('prepares what containers mount, and nothing else', async () => {
    const { manager, setUps } = start();
    const pod = podWith([{ name: 'used', emptyDir: {} }]);
    pod.spec.volumes?.push({ name: 'unused', emptyDir: {} });
    const prepared = await manager.prepare(pod, signal);
    assert.deepEqual([...prepared], [['used', { hostPath: '/data/used', readOnly: false }]]);
    assert.deepEqual(setUps, ['used']);
  });

  it('prepares a volume once, and one that follows something each time', async () => {
    for (const isLive of [false, true]) {
      const { manager, setUps } = start({ isLive });
      const pod = podWith([{ name: 'v', emptyDir: {} }]);
      await manager.prepare(pod, signal);
      await manager.prepare(pod, signal);
      assert.equal(setUps.length, isLive ? 2 : 1);
    }
  });

  it('leaves images to the containers', async () => {
    const { manager, setUps } = start();
    await manager.prepare(podWith([{ name: 'v', image: { reference: 'i' } }]), signal);
    assert.deepEqual(setUps, []);
  });

  it('says which volume failed in which step, and since when it is waited for', async () => {
    const failure = new VolumeError('no such path', { step: 'MountVolume.MountDevice failed' });
    const { manager, events, clock } = start({ setUp: () => Promise.reject(failure) });
    const pod = podWith([{ name: 'v', emptyDir: {} }]);
    await assert.rejects(manager.prepare(pod, signal), { code: 'VOLUME' });
    await clock.advance(3000);
    await assert.rejects(manager.prepare(pod, signal), { code: 'VOLUME' });
    const error = 'MountVolume.MountDevice failed for volume "v" : no such path';
    assert.equal(events[0], `Warning FailedMount ${error}`);
    assert.deepEqual(manager.blocking('uid-1'), [{ volume: 'v', sinceMs: clock.now() - 3000, error }]);
  });

  it('names a claim by its persistent volume, and says when it cannot be used', async () => {
    const claim = async ({ name }: Volume) => {
      if (name === 'good') return boundTo('pv-1');
      throw new VolumeError('error processing PVC shop/b: PVC is not bound');
    };
    const { manager, events, setUps } = start({ claim });
    const source = { persistentVolumeClaim: { claimName: 'b' } };
    const pod = podWith([
      { name: 'good', ...source },
      { name: 'bad', ...source },
    ]);
    await assert.rejects(manager.prepare(pod, signal));
    assert.deepEqual(setUps, ['pv-1']);
    assert.deepEqual(events, [
      'Warning FailedMount Unable to attach or mount volumes: unmounted volumes=[bad], unattached volumes=[], ' +
        'failed to process volumes=[bad]: error processing PVC shop/b: PVC is not bound',
    ]);
  });

  it('says that no plugin knows a volume', async () => {
    const { manager, events } = start();
    const pod = podWith([{ name: 'v', gcePersistentDisk: { pdName: 'x' } }]);
    await assert.rejects(manager.prepare(pod, signal));
    assert.match(events[0] ?? '', /failed to process volumes=\[v\]: .*no volume plugin matched$/);
  });

  it('keeps a volume that was ready when it cannot be brought up to date', async () => {
    let works = true;
    const setUp = async () => {
      if (!works) throw new VolumeError('configmap "c" not found');
      return { hostPath: '/data', readOnly: true };
    };
    const { manager, events } = start({ isLive: true, setUp });
    const pod = podWith([{ name: 'v', configMap: { name: 'c' } }]);
    await manager.prepare(pod, signal);
    works = false;
    assert.equal((await manager.prepare(pod, signal)).get('v')?.hostPath, '/data');
    assert.equal(events[0], 'Warning FailedMount MountVolume.SetUp failed for volume "v" : configmap "c" not found');
    assert.deepEqual(manager.blocking('uid-1'), []);
  });

  it('looks for a claim again after a while, and goes on with what it knew when that fails', async () => {
    let reads = 0;
    const claim = async () => {
      reads += 1;
      if (reads > 1) throw new VolumeError('PVC is being deleted');
      return boundTo('pv-1');
    };
    const { manager, clock } = start({ claim });
    const pod = podWith([{ name: 'v', persistentVolumeClaim: { claimName: 'c' } }]);
    await manager.prepare(pod, signal);
    await manager.prepare(pod, signal);
    assert.equal(reads, 1);
    await clock.advance(60_000);
    await manager.prepare(pod, signal);
    assert.equal(reads, 2);
  });

  it('gives a volume for one pod to one pod', async () => {
    const { manager, events } = start({ claim: async () => boundTo('pv-1', ['ReadWriteOncePod']) });
    const volume = { name: 'v', persistentVolumeClaim: { claimName: 'c' } };
    await manager.prepare(podWith([volume], 'uid-1'), signal);
    await assert.rejects(manager.prepare(podWith([volume], 'uid-2'), signal));
    const why = 'volume uses the ReadWriteOncePod access mode and is already in use by another pod';
    assert.deepEqual(events, [`Warning FailedMount MountVolume failed for volume "pv-1" : ${why}`]);
    await manager.teardown('uid-1');
    await manager.prepare(podWith([volume], 'uid-2'), signal);
  });

  it('leaves a volume for one pod to the pod that had it before a restart', async () => {
    mkdirSync(join(rootDir, 'pods/uid-1/volumes/test~kind/pv-1'), { recursive: true });
    const { manager } = start({ claim: async () => boundTo('pv-1', ['ReadWriteOncePod']) });
    const volume = { name: 'v', persistentVolumeClaim: { claimName: 'c' } };
    await assert.rejects(manager.prepare(podWith([volume], 'uid-2'), signal), /already in use by another pod/);
    await manager.prepare(podWith([volume], 'uid-1'), signal);
  });

  it('unmounts everything of a pod, deepest first, and forgets it', async () => {
    const { manager, mounter, setUps } = start();
    const pod = podWith([{ name: 'v', emptyDir: {} }]);
    await manager.prepare(pod, signal);
    const directory = join(rootDir, 'pods', 'uid-1');
    const places = [
      join(directory, 'volumes/a'),
      join(directory, 'volumes/a/b'),
      join(directory, 'volume-subpaths/c/0'),
    ];
    for (const target of places) await mounter.bind('/x', target, { readOnly: false });
    await manager.teardown('uid-1');
    assert.deepEqual(await mounter.listBelow(directory), []);
    await manager.prepare(pod, signal);
    assert.equal(setUps.length, 2);
  });

  it('refuses a pod whose uid would lead elsewhere', async () => {
    const { manager } = start();
    await assert.rejects(manager.removeDirectory('../../etc'), { code: 'VOLUME' });
    assert.ok(existsSync('/etc'));
  });
});
