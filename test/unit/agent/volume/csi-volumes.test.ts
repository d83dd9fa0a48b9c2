import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { PersistentVolume, PersistentVolumeClaim } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import type { Attachments } from '../../../../agent/volume/csi/attachments.ts';
import { CsiError } from '../../../../agent/volume/csi/csi-error.ts';
import type { CsiNodeClient } from '../../../../agent/volume/csi/csi-node-client.ts';
import { createCsiVolumes } from '../../../../agent/volume/csi/csi-volumes.ts';
import { measureCsiVolume } from '../../../../agent/volume/csi/measure-csi-volume.ts';
import { createStagedVolumes } from '../../../../agent/volume/csi/staged-volumes.ts';
import type { VolumeRequest } from '../../../../agent/volume/volume-kind.ts';
import { fakeApiClient } from '../../../support/fake-api-client.ts';
import { createFakeMounter } from '../../../support/fake-mounter.ts';
import { container, podOf } from '../fixtures.ts';

const signal = new AbortController().signal;

describe('createCsiVolumes', () => {
  let rootDir = '';
  beforeEach(() => {
    rootDir = mkdtempSync(join(tmpdir(), 'csi-volumes-'));
  });
  afterEach(() => rmSync(rootDir, { recursive: true, force: true }));

  function start(spec: CSIDriver['spec'] = { attachRequired: false }, capabilities = ['STAGE_UNSTAGE_VOLUME']) {
    const calls: string[] = [];
    const mounter = createFakeMounter();
    let present = true;
    let refuse: string | undefined;
    const call = (name: string) => {
      calls.push(name);
      if (refuse === name) throw new CsiError('Internal', 'refused');
    };
    const driver: CsiNodeClient = {
      info: async () => ({ nodeId: 'id', maxVolumes: 0, topology: {} }),
      capabilities: async () => new Set(capabilities),
      stage: async () => call('stage'),
      unstage: async () => call('unstage'),
      async publish({ targetPath = '' }) {
        call('publish');
        if (!(await mounter.listBelow(targetPath)).includes(targetPath)) {
          await mounter.bind('/x', targetPath, { readOnly: false });
        }
      },
      async unpublish(_, targetPath) {
        call('unpublish');
        if ((await mounter.listBelow(targetPath)).includes(targetPath)) await mounter.unmount(targetPath);
      },
      expand: async () => call('expand'),
      stats: async () => ({ usage: [], volumeCondition: null }),
      close: () => undefined,
    };
    const described: CSIDriver = {
      apiVersion: 'storage.k8s.io/v1',
      kind: 'CSIDriver',
      metadata: { name: 'd' },
      spec,
    };
    const attachments: Attachments = {
      async waitFor() {
        call('attach');
        return { device: 'x' };
      },
      release: async () => call('detach'),
    };
    /** Another one after a restart: it knows only what is on disk. */
    const volumes = () =>
      createCsiVolumes({
        rootDir,
        nodeName: 'n',
        mounter,
        client: fakeApiClient({}),
        drivers: {
          type: 'CSIPlugin',
          register: async () => undefined,
          deregister: async () => undefined,
          find: () => (present ? driver : undefined),
          close: () => undefined,
        },
        staged: createStagedVolumes(rootDir, mounter),
        attachments,
        tokens: {
          token: async () => 't',
          issue: async () => ({ token: 't', expiresAtMs: 0 }),
          release: () => undefined,
        },
        described: { get: () => described, synced: Promise.resolve() },
        record: () => undefined,
        logger: pino({ level: 'silent' }),
      });
    return {
      calls,
      volumes,
      setPresent: (is: boolean) => {
        present = is;
      },
      setRefused: (name: string | undefined) => {
        refuse = name;
      },
    };
  }

  function request(uid: string): VolumeRequest {
    const volume = {
      metadata: { name: 'pv' },
      spec: { csi: { driver: 'd', volumeHandle: 'h' }, accessModes: ['ReadWriteOnce'] },
    } as unknown as PersistentVolume;
    const claim = { metadata: { name: 'c', namespace: 'shop' }, spec: {} } as PersistentVolumeClaim;
    const pod = podOf({ containers: [container('c')] }, { uid });
    return { pod, volume: { name: 'v' }, specName: 'pv', bound: { claim, volume, readOnly: false } };
  }

  const setUp = (volumes: ReturnType<ReturnType<typeof start>['volumes']>, uid: string) =>
    volumes.setUp(request(uid), signal, () => undefined);

  it('stages once for two pods that start together, and unstages after both', async () => {
    const { calls, volumes } = start();
    const kind = volumes();
    await Promise.all([setUp(kind, 'a'), setUp(kind, 'b')]);
    assert.deepEqual(calls, ['stage', 'publish', 'publish']);
    await kind.release('a');
    assert.deepEqual(calls.slice(3), ['unpublish']);
    await kind.release('b');
    assert.deepEqual(calls.slice(4), ['unpublish', 'unstage', 'detach']);
  });

  it('publishes nothing that is published, also after a restart', async () => {
    const { calls, volumes } = start();
    await setUp(volumes(), 'a');
    await setUp(volumes(), 'a');
    assert.deepEqual(calls.filter((name) => name === 'publish').length, 1);
  });

  it('publishes again and again where the driver wants that, with what the attacher said', async () => {
    const { calls, volumes } = start({ attachRequired: true, requiresRepublish: true });
    const kind = volumes();
    await setUp(kind, 'a');
    await setUp(kind, 'a');
    assert.deepEqual(calls, ['attach', 'stage', 'publish', 'attach', 'publish']);
  });

  it('stages nothing for a driver that cannot', async () => {
    const { calls, volumes } = start(undefined, []);
    const kind = volumes();
    await setUp(kind, 'a');
    await kind.release('a');
    assert.deepEqual(calls, ['publish', 'unpublish', 'detach']);
  });

  it('says in which step the driver refused', async () => {
    const { volumes, setRefused } = start();
    const kind = volumes();
    setRefused('stage');
    await assert.rejects(setUp(kind, 'a'), {
      message: 'rpc error: code = Internal desc = refused',
      step: 'MountVolume.MountDevice failed',
    });
    setRefused('publish');
    await assert.rejects(setUp(kind, 'a'), { message: 'rpc error: code = Internal desc = refused' });
    setRefused(undefined);
    await setUp(kind, 'a');
  });

  it('says that a driver is missing, and leaves alone what is mounted while it is', async () => {
    const { calls, volumes, setPresent } = start();
    const kind = volumes();
    setPresent(false);
    await assert.rejects(setUp(kind, 'a'), {
      message:
        'kubernetes.io/csi: attacher.MountDevice failed to create newCsiDriverClient: ' +
        'driver name d not found in the list of registered CSI drivers',
    });
    setPresent(true);
    const prepared = await setUp(kind, 'a');
    setPresent(false);
    assert.deepEqual(await setUp(kind, 'a'), prepared);
    await assert.rejects(kind.release('a'), /not found in the list of registered CSI drivers/);
    setPresent(true);
    await kind.release('a');
    assert.deepEqual(calls.slice(-3), ['unpublish', 'unstage', 'detach']);
  });

  it('goes on taking back where it was stopped', async () => {
    const { calls, volumes, setRefused } = start();
    await setUp(volumes(), 'a');
    setRefused('unstage');
    await assert.rejects(volumes().release('a'));
    setRefused(undefined);
    await volumes().release('a');
    assert.deepEqual(calls.slice(2), ['unpublish', 'unstage', 'unpublish', 'unstage', 'detach']);
    await volumes().release('a');
    assert.equal(calls.length, 7);
  });

  it('unstages what an agent before left, and nothing that a pod uses', async () => {
    const { calls, volumes } = start();
    await setUp(volumes(), 'a');
    await volumes().sweep('d');
    assert.deepEqual(calls, ['stage', 'publish']);
    rmSync(join(rootDir, 'pods'), { recursive: true });
    await volumes().sweep('d');
    assert.deepEqual(calls.slice(2), ['unstage', 'detach']);
  });
});

describe('measureCsiVolume', () => {
  const driver = (capabilities: string[]) => ({
    capabilities: async () => new Set(capabilities),
    stats: async () => ({
      usage: [
        { unit: 'BYTES' as const, total: 10, used: 4, available: 6 },
        { unit: 'INODES' as const, total: 5, used: 1, available: 4 },
      ],
      volumeCondition: { abnormal: true, message: 'hot' },
    }),
  });
  it('tells what the driver tells', async () => {
    const all = driver(['GET_VOLUME_STATS', 'VOLUME_CONDITION']) as unknown as CsiNodeClient;
    assert.deepEqual(await measureCsiVolume(all, 'h', '/p'), {
      usedBytes: 4,
      capacityBytes: 10,
      availableBytes: 6,
      inodesUsed: 1,
      inodes: 5,
      inodesFree: 4,
      abnormal: true,
    });
  });
  it('asks nothing of a driver that cannot tell', async () =>
    assert.equal(await measureCsiVolume(driver([]) as unknown as CsiNodeClient, 'h', '/p'), undefined));
});
