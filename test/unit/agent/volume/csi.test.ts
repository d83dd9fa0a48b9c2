import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import { checkVersions } from '../../../../agent/volume/csi/csi-drivers.ts';
import { withDriver } from '../../../../agent/volume/csi/csi-node-object.ts';
import {
  attachmentName,
  csiVolumeDirectory,
  ephemeralHandle,
  stagingDirectory,
  uniqueVolumeName,
} from '../../../../agent/volume/csi/csi-paths.ts';
import { needsExpansion } from '../../../../agent/volume/csi/expand-volume.ts';
import {
  agentOwnsGroup,
  type CsiSource,
  checkLifecycle,
  csiAccessMode,
  csiSourceOf,
  volumeCapability,
} from '../../../../agent/volume/csi/plan-csi-volume.ts';
import { readVolumeData, writeVolumeData } from '../../../../agent/volume/csi/volume-data.ts';
import { createKeyLock } from '../../../../agent/volume/key-lock.ts';
import { container, podOf } from '../fixtures.ts';

const pod = podOf({ containers: [container('c')] });
const source: CsiSource = {
  driver: 'd',
  handle: 'h',
  lifecycle: 'Persistent',
  fsType: 'ext4',
  readOnly: false,
  attributes: {},
  accessModes: ['ReadWriteOnce'],
  mountOptions: [],
  publishSecret: undefined,
  stageSecret: undefined,
  expandSecret: undefined,
  isBlock: false,
};
const describedAs = (spec: CSIDriver['spec']): CSIDriver => ({
  apiVersion: 'storage.k8s.io/v1',
  kind: 'CSIDriver',
  metadata: { name: 'd' },
  spec,
});
const none = new Set<string>();

describe('csiSourceOf', () => {
  it('reads a volume behind a claim', () => {
    const csi = { driver: 'd', volumeHandle: 'h', readOnly: true };
    const volume = { metadata: { name: 'pv' }, spec: { csi, accessModes: ['ReadWriteMany'], mountOptions: ['a'] } };
    const claim = { metadata: { name: 'c' }, spec: {} } as PersistentVolumeClaim;
    const bound = { claim, volume: volume as unknown as PersistentVolume, readOnly: false };
    const read = csiSourceOf({ pod, volume: { name: 'v' }, specName: 'pv', bound });
    assert.deepEqual(
      [read?.handle, read?.lifecycle, read?.readOnly, read?.mountOptions],
      ['h', 'Persistent', false, ['a']],
    );
  });

  it('names a volume of its own for each pod', () => {
    const volume = { name: 'v', csi: { driver: 'd', nodePublishSecretRef: { name: 's' } } };
    const read = csiSourceOf({ pod, volume, specName: 'v', bound: undefined });
    assert.equal(read?.handle, ephemeralHandle('uid-1', 'v'));
    assert.deepEqual(read?.publishSecret, { name: 's', namespace: 'shop' });
  });

  it('leaves other volumes to others', () =>
    assert.equal(
      csiSourceOf({ pod, volume: { name: 'v', emptyDir: {} }, specName: 'v', bound: undefined }),
      undefined,
    ));
});

describe('checkLifecycle', () => {
  const ephemeral = { ...source, lifecycle: 'Ephemeral' as const };
  it('lets drivers that offer it have volumes of pods', () =>
    checkLifecycle(ephemeral, describedAs({ volumeLifecycleModes: ['Persistent', 'Ephemeral'] })));
  it('refuses others', () => {
    assert.throws(() => checkLifecycle(ephemeral, undefined), {
      message: 'volume mode "Ephemeral" not supported by driver d (no CSIDriver object)',
    });
    assert.throws(() => checkLifecycle(ephemeral, describedAs({})), {
      message: 'volume mode "Ephemeral" not supported by driver d (only supports ["Persistent"])',
    });
  });
});

describe('csiAccessMode', () => {
  for (const [mode, precise, expected] of [
    ['ReadWriteOnce', false, 'SINGLE_NODE_WRITER'],
    ['ReadWriteOnce', true, 'SINGLE_NODE_MULTI_WRITER'],
    ['ReadWriteOncePod', false, 'SINGLE_NODE_WRITER'],
    ['ReadWriteOncePod', true, 'SINGLE_NODE_SINGLE_WRITER'],
    ['ReadOnlyMany', true, 'MULTI_NODE_READER_ONLY'],
    ['ReadWriteMany', false, 'MULTI_NODE_MULTI_WRITER'],
    ['Other', false, 'UNKNOWN'],
  ] as const) {
    it(`is ${expected} for ${mode}${precise ? ' and a driver that tells writers apart' : ''}`, () =>
      assert.equal(csiAccessMode([mode], new Set(precise ? ['SINGLE_NODE_MULTI_WRITER'] : [])), expected));
  }
});

describe('volumeCapability', () => {
  const grouped = podOf({ containers: [container('c')], securityContext: { fsGroup: 5 } });
  it('tells the group to a driver that can give it', () => {
    const delegated = volumeCapability(source, grouped, new Set(['VOLUME_MOUNT_GROUP']));
    assert.equal(delegated.mount?.volumeMountGroup, '5');
    assert.equal(volumeCapability(source, grouped, none).mount?.volumeMountGroup, undefined);
  });
  it('asks for a device', () => {
    const { block, mount } = volumeCapability({ ...source, isBlock: true }, pod, none);
    assert.deepEqual([block, mount], [{}, undefined]);
  });
});

describe('agentOwnsGroup', () => {
  const grouped = podOf({ containers: [container('c')], securityContext: { fsGroup: 5 } });
  const cases: [string, boolean, Partial<CsiSource>, string | undefined, Pod?, Set<string>?][] = [
    ['one writer with a filesystem type', true, {}, undefined],
    ['no filesystem type', false, { fsType: '' }, undefined],
    ['many writers', false, { accessModes: ['ReadWriteMany'] }, undefined],
    ['many writers under File', true, { accessModes: ['ReadWriteMany'] }, 'File'],
    ['no filesystem type under File', true, { fsType: '' }, 'File'],
    ['the policy None', false, {}, 'None'],
    ['reading only', false, { readOnly: true }, 'File'],
    ['a device', false, { isBlock: true }, 'File'],
    ['a pod without a group', false, {}, 'File', pod],
    ['a driver that does it', false, {}, 'File', grouped, new Set(['VOLUME_MOUNT_GROUP'])],
  ];
  for (const [what, expected, fields, fsGroupPolicy, user = grouped, capabilities = none] of cases) {
    it(`is ${expected} for ${what}`, () => {
      const described = fsGroupPolicy === undefined ? undefined : describedAs({ fsGroupPolicy });
      assert.equal(agentOwnsGroup({ ...source, ...fields }, user, described, capabilities), expected);
    });
  }
});

describe('needsExpansion', () => {
  const bound = (claimed: string | undefined, has: string, readOnly = false) => ({
    claim: {
      status: claimed === undefined ? {} : { capacity: { storage: claimed } },
    } as unknown as PersistentVolumeClaim,
    volume: { spec: { capacity: { storage: has } } } as unknown as PersistentVolume,
    readOnly,
  });
  it('is true only for volumes that became larger than their claim knows', () => {
    assert.equal(needsExpansion(bound('1Gi', '2Gi')), true);
    assert.equal(needsExpansion(bound('1Gi', '1024Mi')), false);
    assert.equal(needsExpansion(bound('1Gi', '2Gi', true)), false);
    assert.equal(needsExpansion(bound(undefined, '2Gi')), false);
  });
});

describe('names of CSI volumes', () => {
  it('are those by which kubelet, attachers and controllers know them', () => {
    assert.equal(uniqueVolumeName('d', 'h'), 'kubernetes.io/csi/d^h');
    assert.match(attachmentName('h', 'd', 'n'), /^csi-[0-9a-f]{64}$/);
    assert.match(stagingDirectory('/r', 'd', 'h'), /^\/r\/plugins\/kubernetes\.io\/csi\/d\/[0-9a-f]{64}$/);
    assert.equal(csiVolumeDirectory('/r', 'u', 'pv'), '/r/pods/u/volumes/kubernetes.io~csi/pv');
  });
  it('lead nowhere else', () => {
    assert.throws(() => stagingDirectory('/r', '../x', 'h'), { code: 'VOLUME' });
    assert.throws(() => csiVolumeDirectory('/r', 'u', '..'), { code: 'VOLUME' });
  });
});

describe('vol_data.json', () => {
  let directory = '';
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'volume-data-'));
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it('is read as it was written', async () => {
    const data = {
      specVolID: 'pv',
      volumeHandle: 'h',
      driverName: 'd',
      nodeName: 'n',
      attachmentID: 'a',
      volumeLifecycleMode: 'Ephemeral' as const,
      seLinuxMountContext: '',
    };
    await writeVolumeData(directory, data);
    assert.deepEqual(await readVolumeData(directory), data);
  });

  for (const text of ['', '{', '[]', 'null', '{"driverName":"d"}', '{"driverName":1,"volumeHandle":2}']) {
    it(`is nothing when it says ${JSON.stringify(text)}`, async () => {
      writeFileSync(join(directory, 'vol_data.json'), text);
      assert.equal(await readVolumeData(directory), undefined);
    });
  }
});

describe('checkVersions', () => {
  it('takes drivers that speak CSI 1', () => {
    checkVersions('d', ['0.3.0', '1.5.0']);
    checkVersions('d', ['v1']);
    assert.throws(() => checkVersions('d', ['0.3.0']), /none of which is 1\.x/);
    assert.throws(() => checkVersions('d', []), /names no supported version/);
  });
});

describe('withDriver', () => {
  const info = { nodeId: 'id', maxVolumes: 0, topology: { b: '1', a: '2' } };
  it('replaces what the driver said before', () => {
    const drivers = withDriver(
      [
        { name: 'd', nodeID: 'old' },
        { name: 'e', nodeID: 'x' },
      ],
      'd',
      info,
    );
    assert.deepEqual(drivers, [
      { name: 'e', nodeID: 'x' },
      { name: 'd', nodeID: 'id', topologyKeys: ['a', 'b'] },
    ]);
  });
  it('refuses a driver without an id for the node', () =>
    assert.throws(() => withDriver([], 'd', { ...info, nodeId: '' }), /must not be empty/));
});

describe('createKeyLock', () => {
  it('lets one at a time through for each key, also after a failure', async () => {
    const lock = createKeyLock();
    const order: string[] = [];
    const first = lock('a', async () => {
      await new Promise((resolve) => setImmediate(resolve));
      order.push('first');
      throw new Error('failed');
    });
    const second = lock('a', async () => void order.push('second'));
    const other = lock('b', async () => void order.push('other'));
    await assert.rejects(first, /failed/);
    await Promise.all([second, other]);
    assert.deepEqual(order, ['other', 'first', 'second']);
  });
});
