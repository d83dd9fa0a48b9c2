import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { Exec } from '#kube/process/exec.ts';
import { createEmptyDirKind, hugePageSize, memoryVolumeBytes } from '../../../../agent/volume/empty-dir.ts';
import { createFormatDevice } from '../../../../agent/volume/format-device.ts';
import { hostPathKind } from '../../../../agent/volume/host-path.ts';
import { createImageVolumes, mountsImages } from '../../../../agent/volume/image-volume.ts';
import { checkNodeAffinity, createLocalKind } from '../../../../agent/volume/local-kind.ts';
import { checkMountOptions } from '../../../../agent/volume/mount-options.ts';
import { createMounter, type MountRequest } from '../../../../agent/volume/mounter.ts';
import { createNfsKind } from '../../../../agent/volume/network-kind.ts';
import type { BoundClaim, VolumeRequest } from '../../../../agent/volume/volume-kind.ts';
import { createFakeMounter } from '../../../support/fake-mounter.ts';
import { container, podOf } from '../fixtures.ts';

const signal = new AbortController().signal;
const progress = () => undefined;
let rootDir = '';
beforeEach(() => {
  rootDir = mkdtempSync(join(tmpdir(), 'volume-kinds-'));
});
afterEach(() => rmSync(rootDir, { recursive: true, force: true }));

function request(volume: VolumeRequest['volume'], pod: Pod = podOf({ containers: [container('c')] })): VolumeRequest {
  return { pod, volume, specName: volume.name, bound: undefined };
}

function claimOn(spec: Partial<PersistentVolume['spec']>, readOnly = false): VolumeRequest {
  const bound: BoundClaim = {
    claim: { metadata: { name: 'c' }, spec: {} } as PersistentVolumeClaim,
    volume: { metadata: { name: 'pv' }, spec } as PersistentVolume,
    readOnly,
  };
  return { ...request({ name: 'v', persistentVolumeClaim: { claimName: 'c' } }), specName: 'pv', bound };
}

describe('memoryVolumeBytes', () => {
  const limited = (memory: string) => podOf({ containers: [container('c', { resources: { limits: { memory } } })] });
  const unlimited = podOf({ containers: [container('c')] });
  const cases: [string, Pod, string | undefined, number, number][] = [
    ['the node has for pods', unlimited, undefined, 1000, 1000],
    ['the pod may use', limited('500'), undefined, 1000, 500],
    ['the volume may hold', limited('500'), '200', 1000, 200],
    ['the pod may use, whatever the volume says', limited('500'), '700', 1000, 500],
    ['the volume may hold where nothing else is known', unlimited, '700', 0, 700],
    ['nobody limits', unlimited, undefined, 0, 0],
  ];
  for (const [what, pod, sizeLimit, allocatable, expected] of cases) {
    it(`is what ${what}`, () => assert.equal(memoryVolumeBytes(pod, sizeLimit, allocatable), expected));
  }
});

describe('hugePageSize', () => {
  const requesting = (...names: string[]) => {
    const requests = Object.fromEntries(names.map((name) => [name, '2Mi']));
    return podOf({ containers: [container('c', { resources: { requests } })] });
  };
  it('is the one size that the pod requests', () =>
    assert.equal(hugePageSize(requesting('hugepages-2Mi'), 'HugePages'), '2Mi'));
  it('is the size that the medium names', () =>
    assert.equal(hugePageSize(requesting('hugepages-2Mi', 'hugepages-1Gi'), 'HugePages-1Gi'), '1Gi'));
  it('is refused where the pod leaves it open or requests another', () => {
    assert.throws(() => hugePageSize(requesting('hugepages-2Mi', 'hugepages-1Gi'), 'HugePages'), /several sizes/);
    assert.throws(() => hugePageSize(requesting(), 'HugePages'), /no container/);
    assert.throws(() => hugePageSize(requesting('hugepages-2Mi'), 'HugePages-1Gi'), /hugepages-1Gi/);
  });
});

describe('emptyDir', () => {
  it('mounts huge pages of the size asked for', async () => {
    const mounts: MountRequest[] = [];
    const mounter = createFakeMounter({ mount: async (mount) => void mounts.push(mount) });
    const pod = podOf({ containers: [container('c', { resources: { requests: { 'hugepages-2Mi': '4Mi' } } })] });
    const kind = createEmptyDirKind(rootDir, mounter, () => 0);
    await kind.setUp(request({ name: 'v', emptyDir: { medium: 'HugePages' } }, pod), signal, progress);
    assert.deepEqual(
      mounts.map(({ type, options }) => [type, options]),
      [['hugetlbfs', ['pagesize=2Mi']]],
    );
  });

  it('leaves alone what was ready before, also for an agent that has forgotten it', async () => {
    const kind = () => createEmptyDirKind(rootDir, createFakeMounter(), () => 0);
    const { hostPath } = await kind().setUp(request({ name: 'v', emptyDir: {} }), signal, progress);
    assert.equal(statSync(hostPath).mode & 0o777, 0o777);
    rmSync(hostPath, { recursive: true });
    mkdirSync(hostPath, { mode: 0o700 });
    await kind().setUp(request({ name: 'v', emptyDir: {} }), signal, progress);
    assert.equal(statSync(hostPath).mode & 0o777, 0o700);
  });

  it('does not know other media', async () => {
    const kind = createEmptyDirKind(rootDir, createFakeMounter(), () => 0);
    await assert.rejects(
      kind.setUp(request({ name: 'v', emptyDir: { medium: 'Tape' } }), signal, progress),
      /unknown storage medium "Tape"/,
    );
  });
});

describe('hostPath', () => {
  it('is the path itself, also behind a claim', async () => {
    const volume = claimOn({ hostPath: { path: rootDir } }, true);
    assert.deepEqual(await hostPathKind.setUp(volume, signal, progress), { hostPath: rootDir, readOnly: true });
  });
  it('refuses steps back', async () => {
    const volume = request({ name: 'v', hostPath: { path: '/a/../b' } });
    await assert.rejects(hostPathKind.setUp(volume, signal, progress), /must not contain '\.\.'/);
  });
  it('takes no mount options', () => {
    assert.throws(() => checkMountOptions(claimOn({ mountOptions: ['ro'] }), 'kubernetes.io/host-path'), {
      message: 'Mount options are not supported for this volume type',
    });
  });
});

describe('local volumes', () => {
  const node = { metadata: { name: 'n', labels: { 'kubernetes.io/hostname': 'n' } } } as unknown as Node;
  const only = (value: string) => ({
    nodeAffinity: {
      required: {
        nodeSelectorTerms: [{ matchExpressions: [{ key: 'kubernetes.io/hostname', operator: 'In', values: [value] }] }],
      },
    },
  });
  const never = () => Promise.reject(new Error('nothing is to be formatted'));

  it('may be used on their node only', () => {
    checkNodeAffinity(claimOn(only('n')), node);
    assert.throws(() => checkNodeAffinity(claimOn(only('other')), node), {
      message: 'no matching NodeSelectorTerms',
      step: 'MountVolume.NodeAffinity check failed',
    });
  });

  it('are bound into the pod, once', async () => {
    const binds: [string, string][] = [];
    const mounted: string[] = [];
    const mounter = createFakeMounter({
      bind: async (source, target) => {
        binds.push([source, target]);
        mounted.push(target);
      },
      listBelow: async (directory) => mounted.filter((path) => path === directory),
    });
    const kind = createLocalKind(rootDir, mounter, never);
    const path = join(rootDir, 'disk');
    mkdirSync(path);
    const volume = claimOn({ local: { path } });
    const { hostPath } = await kind.setUp(volume, signal, progress);
    await kind.setUp(volume, signal, progress);
    assert.equal(hostPath, join(rootDir, 'pods/uid-1/volumes/kubernetes.io~local-volume/pv'));
    assert.deepEqual(binds, [[path, hostPath]]);
  });

  it('belong to the group of the first pod that uses them', async () => {
    const events: string[] = [];
    const record = (_: Pod, __: string, reason: string, message: string) => void events.push(`${reason} ${message}`);
    const mounter = createFakeMounter({ listBelow: async () => [] });
    const kind = createLocalKind(rootDir, mounter, never, record);
    const path = join(rootDir, 'disk');
    mkdirSync(path);
    const grouped = (uid: string, fsGroup: number) => ({
      ...claimOn({ local: { path } }),
      pod: podOf({ containers: [container('c')], securityContext: { fsGroup } }, { uid }),
    });
    const own = process.getgid?.() ?? 0;
    await kind.setUp(grouped('a', own), signal, progress);
    await kind.setUp(grouped('b', own + 1), signal, progress);
    assert.deepEqual(events, [
      `AlreadyMountedVolume The requested fsGroup is ${own + 1}, but the volume pv has GID ${own}. The volume may not be shareable.`,
    ]);
  });

  it('say what is wrong with the path', async () => {
    const kind = createLocalKind(rootDir, createFakeMounter(), never);
    const file = join(rootDir, 'file');
    writeFileSync(file, '');
    const failing = (path: string) => kind.setUp(claimOn({ local: { path } }), signal, progress);
    const step = 'MountVolume.NewMounter initialization failed';
    await assert.rejects(failing('/no/such'), { message: 'path "/no/such" does not exist', step });
    await assert.rejects(failing(file), /neither a directory nor a block device/);
    await assert.rejects(failing(`${rootDir}/../x`), /must not contain/);
  });

  const noDevice = existsSync('/dev/loop0') ? false : 'needs a block device';
  it('show a device by a link', { skip: noDevice }, async () => {
    const kind = createLocalKind(rootDir, createFakeMounter(), never);
    const volume = claimOn({ local: { path: '/dev/loop0' }, volumeMode: 'Block' });
    const prepared = await kind.setUp(volume, signal, progress);
    assert.equal(readlinkSync(prepared.hostPath), '/dev/loop0');
    assert.equal(prepared.isDevice, true);
  });
});

describe('createFormatDevice', () => {
  const run = (found: number) => {
    const calls: string[] = [];
    const exec: Exec = async (file, args) => {
      calls.push([file, ...args].join(' '));
      return { exitCode: file === 'blkid' ? found : 0, stdout: '', stderr: '' };
    };
    return { calls, format: createFormatDevice(exec) };
  };
  it('formats an empty device', async () => {
    const { calls, format } = run(2);
    await format('/dev/x', 'ext4');
    assert.equal(calls[1], 'mkfs.ext4 -F -m0 /dev/x');
  });
  it('formats nothing that holds something, and nothing it cannot look at', async () => {
    const { calls, format } = run(0);
    await format('/dev/x', 'ext4');
    assert.equal(calls.length, 1);
    await assert.rejects(run(4).format('/dev/x', 'ext4'), /cannot tell what is on/);
  });
  it('knows the filesystems it makes', () =>
    assert.rejects(run(2).format('/dev/x', '../sh'), /cannot make a filesystem/));
});

describe('NFS volumes', () => {
  const mounts = (fail = false) => {
    const calls: string[][] = [];
    const exec: Exec = async (file, args) => {
      calls.push([file, ...args]);
      return { exitCode: fail ? 32 : 0, stdout: '', stderr: 'access denied by server' };
    };
    return { calls, kind: createNfsKind(rootDir, createMounter(exec)) };
  };
  const target = () => join(rootDir, 'pods/uid-1/volumes/kubernetes.io~nfs/pv');

  it('are mounted with the options of the persistent volume', async () => {
    const { calls, kind } = mounts();
    const nfs = { server: '192.0.2.1', path: '/export' };
    await kind.setUp(claimOn({ nfs, mountOptions: ['nfsvers=4.2', 'soft'] }, true), signal, progress);
    assert.deepEqual(calls, [['mount', '-t', 'nfs', '-o', 'ro,nfsvers=4.2,soft', '192.0.2.1:/export', target()]]);
  });

  it('are mounted from servers with an IPv6 address', async () => {
    const { calls, kind } = mounts();
    await kind.setUp(claimOn({ nfs: { server: '2001:db8::1', path: '/e' } }), signal, progress);
    assert.equal(calls[0]?.[3], '[2001:db8::1]:/e');
  });

  it('say what mount(8) said, and leave nothing behind', async () => {
    const { kind } = mounts(true);
    await assert.rejects(kind.setUp(claimOn({ nfs: { server: 's', path: '/e' } }), signal, progress), {
      message: `mount failed: exit status 32\nMounting command: mount\nMounting arguments: -t nfs s:/e ${target()}\nOutput: access denied by server`,
    });
    assert.equal(existsSync(target()), false);
  });
});

describe('image volumes', () => {
  for (const [name, version, expected] of [
    ['containerd', '1.6.20', false],
    ['containerd', 'v2.0.4', false],
    ['containerd', 'v2.1.0', true],
    ['cri-o', '1.33.1', true],
    ['other', '0.1', true],
  ] as const) {
    it(`are ${expected ? '' : 'not '}mounted by ${name} ${version} itself`, () =>
      assert.equal(mountsImages(name, version), expected));
  }

  const volumes = (runtimeVersion: string) => {
    const calls: string[] = [];
    const exec: Exec = async (file, args) => {
      calls.push([file, ...args].join(' '));
      return { exitCode: 0, stdout: '', stderr: '' };
    };
    const mounter = createFakeMounter();
    const runtimeEndpoint = 'unix:///run/c.sock';
    const options = { rootDir, mounter, exec, runtimeName: 'containerd', runtimeVersion, runtimeEndpoint };
    return { calls, images: createImageVolumes(options) };
  };

  it('are mounted below the pod by the tool of an old runtime, and unmounted with it', async () => {
    const { calls, images } = volumes('1.6.20');
    const target = join(rootDir, 'pods/uid-1/volumes/kubernetes.io~image/v');
    assert.deepEqual(await images.prepare('uid-1', 'v', 'sha256:1', signal), { type: 'path', hostPath: target });
    await images.release('uid-1');
    const ctr = 'ctr --address /run/c.sock --namespace k8s.io images';
    assert.deepEqual(calls.slice(1), [`${ctr} mount sha256:1 ${target}`, `${ctr} unmount --rm ${target}`]);
    assert.equal(existsSync(target), false);
  });

  it('are left to a new runtime', async () => {
    const { calls, images } = volumes('2.1.3');
    assert.deepEqual(await images.prepare('uid-1', 'v', 'sha256:1', signal), { type: 'runtime' });
    assert.deepEqual(calls, []);
  });
});
