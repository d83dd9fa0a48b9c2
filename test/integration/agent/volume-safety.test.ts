// What hostile pods try with volumes, on a real file system with real mounts: links exchanged while they are looked at,
// names that lead elsewhere, mounts where something is going to be removed.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Pod, Volume } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { containerMounts } from '../../../agent/container/container-mounts.ts';
import { createMounter } from '../../../agent/volume/mounter.ts';
import { removeTree } from '../../../agent/volume/remove-tree.ts';
import { bindSubPath } from '../../../agent/volume/sub-path.ts';
import { createVolumeKinds } from '../../../agent/volume/volume-kinds.ts';
import { createVolumeManager } from '../../../agent/volume/volume-manager.ts';
import { applyFsGroup } from '../../../agent/volume/volume-ownership.ts';
import { container, podOf } from '../../unit/agent/fixtures.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root to mount';
const mounter = createMounter(systemExec);

describe('volumes of hostile pods', { skip }, () => {
  let root = '';
  let attacker: ChildProcess | undefined;
  async function stopSwapping(): Promise<void> {
    const running = attacker;
    attacker = undefined;
    if (running === undefined) return;
    assert.equal(running.exitCode, null, 'the attacker gave up');
    const exited = once(running, 'exit');
    running.kill('SIGKILL');
    await exited;
  }
  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'volume-safety-'));
  });
  afterEach(async () => {
    await stopSwapping();
    for (const mount of await mounter.listBelow(root)) await mounter.unmount(mount);
    await rm(root, { recursive: true, force: true });
  });

  /** Exchanges `swap` for a link to `target` and back, as fast as it can, until it is killed. */
  async function startSwapping(swap: string, target: string): Promise<void> {
    const script = `
      const { mkdirSync, renameSync, symlinkSync, rmSync } = require('node:fs');
      const [swap, target] = process.argv.slice(1);
      symlinkSync(target, swap + '.link');
      console.log('ready');
      const [link, real] = [swap + '.link', swap + '.real'];
      for (;;) {
        try {
          renameSync(swap, real);
          renameSync(link, swap);
          renameSync(swap, link);
          renameSync(real, swap);
        } catch {
          // The other side made something in between: from the beginning.
          try {
            for (const path of [swap, link, real]) rmSync(path, { recursive: true, force: true });
            mkdirSync(swap + '/deep', { recursive: true });
            symlinkSync(target, link);
          } catch {}
        }
      }`;
    attacker = spawn(process.execPath, ['-e', script, swap, target], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(attacker.stdout ?? attacker, 'data');
  }

  it('never binds anything outside of a volume while its directories are exchanged for links', async () => {
    const volume = join(root, 'volume');
    const secret = join(root, 'secret');
    await mkdir(join(volume, 'inner/deep'), { recursive: true });
    await mkdir(join(secret, 'deep'), { recursive: true });
    await writeFile(join(secret, 'deep/host'), 'of the host');
    await startSwapping(join(volume, 'inner'), secret);
    let bound = 0;
    const until = Date.now() + 3000;
    // A machine with much else to do takes longer until anything has happened at all.
    const limit = Date.now() + 30_000;
    while (Date.now() < until || (bound <= 5 && Date.now() < limit)) {
      const target = join(root, `target-${bound}`);
      try {
        await bindSubPath(volume, 'inner/deep', target, mounter);
      } catch {
        // Refused, or the name was gone for a moment: either is fine.
        continue;
      }
      bound += 1;
      assert.deepEqual(await readdir(target), []);
      await mounter.unmount(target);
    }
    await stopSwapping();
    assert.ok(bound > 5, `${bound} binds`);
    assert.deepEqual(await readdir(join(secret, 'deep')), ['host']);
  });

  it('gives nothing outside of a volume to a group while its directories are exchanged for links', async () => {
    const volume = join(root, 'volume');
    const secret = join(root, 'secret');
    await mkdir(join(volume, 'inner'), { recursive: true });
    await mkdir(secret);
    await writeFile(join(volume, 'inner/file'), '');
    await writeFile(join(secret, 'file'), '', { mode: 0o600 });
    await chmod(secret, 0o700);
    await startSwapping(join(volume, 'inner'), secret);
    const until = Date.now() + 2000;
    while (Date.now() < until) await applyFsGroup(volume, { gid: 4321, readOnly: false });
    await stopSwapping();
    for (const path of [secret, join(secret, 'file')]) {
      const { gid, mode } = await stat(path);
      assert.deepEqual([gid, mode & 0o077], [0, 0]);
    }
  });

  it('removes nothing of a mount that somebody else made below a pod', async () => {
    const foreign = join(root, 'foreign');
    const pod = join(root, 'pods/uid');
    await mkdir(join(pod, 'volumes/a/b'), { recursive: true });
    await mkdir(foreign);
    await writeFile(join(foreign, 'precious'), 'x');
    await writeFile(join(pod, 'volumes/a/own'), 'x');
    // A bind of the same file system: its device number is the same.
    await mounter.bind(foreign, join(pod, 'volumes/a/b'), { readOnly: false });
    await assert.rejects(removeTree(pod), /something is mounted there/);
    assert.equal(await readFile(join(foreign, 'precious'), 'utf8'), 'x');
    await mounter.unmount(join(pod, 'volumes/a/b'));
    await writeFile(join(pod, 'volumes/file'), '');
    await mounter.bind(join(foreign, 'precious'), join(pod, 'volumes/file'), { readOnly: false });
    await assert.rejects(removeTree(pod), /something is mounted there/);
    await mounter.unmount(join(pod, 'volumes/file'));
    await removeTree(pod);
    await assert.rejects(stat(pod), { code: 'ENOENT' });
    assert.equal(await readFile(join(foreign, 'precious'), 'utf8'), 'x');
  });

  it('keeps what is in a mount that somebody else made in the directory of a pod that is gone', async () => {
    const rootDir = join(root, 'agent');
    const foreign = join(root, 'foreign');
    const inside = join(rootDir, 'pods/uid-gone/volumes/kubernetes.io~empty-dir/v/inside');
    await mkdir(inside, { recursive: true });
    await mkdir(foreign);
    await writeFile(join(foreign, 'precious'), 'x');
    await mounter.bind(foreign, inside, { readOnly: false });
    await createManager(rootDir).removeDirectory('uid-gone');
    assert.deepEqual(await readdir(join(rootDir, 'pods')), []);
    assert.equal(await readFile(join(foreign, 'precious'), 'utf8'), 'x');
  });

  it('does not follow links when it removes', async () => {
    const outside = join(root, 'outside');
    await mkdir(outside);
    await writeFile(join(outside, 'kept'), '');
    await mkdir(join(root, 'gone'));
    await symlink(outside, join(root, 'gone/link'));
    await symlink(join(root, 'gone'), join(root, 'to-gone'));
    await removeTree(join(root, 'gone'));
    await removeTree(join(root, 'to-gone'));
    assert.deepEqual(await readdir(outside), ['kept']);
    await assert.rejects(lstat(join(root, 'to-gone')), { code: 'ENOENT' });
  });

  it('binds the new file once one that was bound has been replaced', async () => {
    const volume = join(root, 'volume');
    await mkdir(volume);
    await writeFile(join(volume, 'f'), 'old');
    const target = join(root, 'target');
    await bindSubPath(volume, 'f', target, mounter);
    await writeFile(join(volume, 'f.new'), 'new');
    await rename(join(volume, 'f.new'), join(volume, 'f'));
    assert.equal(await readFile(target, 'utf8'), 'old');
    await bindSubPath(volume, 'f', target, mounter);
    assert.equal(await readFile(target, 'utf8'), 'new');
    assert.equal((await mounter.listBelow(target)).length, 1);
  });

  /** A generator of numbers that depends on nothing but its seed. */
  function seeded(seed: number): (limit: number) => number {
    let state = seed;
    return (limit) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % limit;
    };
  }

  it('writes nothing outside of a pod, whatever names and paths it uses', async () => {
    const rootDir = join(root, 'agent');
    await mkdir(rootDir);
    await writeFile(join(root, 'canary'), 'alive');
    const pieces = [
      '..',
      '.',
      '',
      '/',
      'a',
      'b',
      '..data',
      '\0',
      '../..',
      'canary',
      '%2e%2e',
      '\n',
      'x'.repeat(300),
      '~',
    ];
    for (let seed = 1; seed <= 300; seed += 1) {
      const random = seeded(seed);
      const pick = () => pieces[random(pieces.length)] ?? '';
      const path = () => Array.from({ length: 1 + random(4) }, pick).join(random(2) === 0 ? '/' : '');
      const sources: Volume[] = [
        { name: pick(), emptyDir: {} },
        { name: path(), configMap: { name: 'c', items: [{ key: 'k', path: path() }] } },
        { name: 'v', configMap: { name: 'c', items: [{ key: 'k', path: path() }] } },
        { name: 'v', downwardAPI: { items: [{ path: path(), fieldRef: { fieldPath: 'metadata.name' } }] } },
        { name: 'v', emptyDir: {} },
      ];
      const volume = sources[random(sources.length)] ?? { name: 'v', emptyDir: {} };
      const name = random(3) === 0 ? path() : 'c';
      const subPath = random(2) === 0 ? path() : undefined;
      const volumeMounts = [{ name: volume.name, mountPath: '/v', ...(subPath === undefined ? {} : { subPath }) }];
      const uid = random(4) === 0 ? path() : `uid-${seed}`;
      const hostile = podOf({ containers: [container(name, { volumeMounts })], volumes: [volume] }, { uid });
      await useOnce(rootDir, hostile, volumeMounts.length);
      assert.deepEqual((await readdir(root)).sort(), ['agent', 'canary'], `seed ${seed}`);
      assert.equal(await readFile(join(root, 'canary'), 'utf8'), 'alive', `seed ${seed}`);
      const made = await readdir(rootDir);
      assert.ok(
        made.every((entry) => entry === 'pods' || entry === 'memory-volumes'),
        `seed ${seed} made ${made}`,
      );
    }
  });

  function createManager(rootDir: string) {
    const configMap = { metadata: { name: 'c' }, data: { k: 'text' } } as never;
    const logger = pino({ level: 'silent' });
    const kinds = createVolumeKinds({
      rootDir,
      mounter,
      sources: {
        objects: {
          configMap: async () => configMap,
          secret: async () => undefined,
          release: () => undefined,
          close: async () => undefined,
        },
        tokens: {
          token: async () => 't',
          issue: async () => ({ token: 't', expiresAtMs: 0 }),
          release: () => undefined,
        },
        trustBundles: { anchors: async () => '', release: () => undefined, close: async () => undefined },
        downward: () => ({ hostIps: [], podIps: [], nodeAllocatable: {} }),
      },
      clock: systemClock,
      exec: systemExec,
      node: () => undefined,
    });
    return createVolumeManager({
      rootDir,
      mounter,
      kinds,
      claims: { read: async () => undefined },
      clock: systemClock,
      logger,
      record: () => undefined,
    });
  }

  /** Prepares, mounts and removes the pod's volumes; being refused is fine. */
  async function useOnce(rootDir: string, pod: Pod, mounts: number): Promise<void> {
    assert.ok(mounts > 0);
    const signal = new AbortController().signal;
    const manager = createManager(rootDir);
    const uid = pod.metadata.uid ?? '';
    try {
      const volumes = await manager.prepare(pod, signal);
      const [first] = pod.spec.containers;
      if (first !== undefined) {
        await containerMounts(pod, first, {
          rootDir,
          mounter,
          volumes,
          environment: new Map(),
          image: async () => assert.fail('no image is asked for'),
          recursiveReadOnly: false,
        });
      }
    } catch (error) {
      const { code, name } = error as NodeJS.ErrnoException;
      const known = ['VOLUME', 'ENAMETOOLONG', 'ENOENT', 'ENOTDIR', 'EEXIST', 'EISDIR', 'ERR_INVALID_ARG_VALUE'];
      assert.ok(known.includes(code ?? '') || name === 'ContainerConfigError', String((error as Error).stack));
    }
    await manager.removeDirectory(uid).catch((error: NodeJS.ErrnoException) => {
      assert.ok(['VOLUME', 'ENAMETOOLONG', 'ENOENT'].includes(error.code ?? ''), String(error.stack));
    });
  }
});
