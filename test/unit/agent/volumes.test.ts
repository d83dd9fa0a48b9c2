import assert from 'node:assert/strict';
import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import type { ConfigMap } from '#kube/api/generated/core-v1.ts';
import { writeAtomically } from '../../../agent/volume/atomic-writer.ts';
import { ensureHostPath } from '../../../agent/volume/host-path.ts';
import { parseMountPoints } from '../../../agent/volume/mounter.ts';
import { configMapPayload } from '../../../agent/volume/object-payload.ts';
import type { Payload } from '../../../agent/volume/payload.ts';
import { bindSubPath } from '../../../agent/volume/sub-path.ts';
import { createFakeMounter } from '../../support/fake-mounter.ts';

let root = '';
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'agent-volume-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function payload(files: Record<string, string>, mode = 0o644): Payload {
  return new Map(Object.entries(files).map(([path, text]) => [path, { content: Buffer.from(text), mode }]));
}

describe('writeAtomically', () => {
  const write = (files: Record<string, string>, unique: string, mode?: number) =>
    writeAtomically(root, payload(files, mode), { nowMs: 0, unique });

  it('shows files through a link to the current version', async () => {
    assert.equal(await write({ a: '1', 'dir/b': '2' }, '1'), true);
    assert.equal(readFileSync(join(root, 'a'), 'utf8'), '1');
    assert.equal(readFileSync(join(root, 'dir/b'), 'utf8'), '2');
    assert.equal(readlinkSync(join(root, 'a')), '..data/a');
    assert.equal(readlinkSync(join(root, '..data')), '..1970_01_01_00_00_00.1');
  });

  it('does nothing when nothing changed', async () => {
    await write({ a: '1' }, '1');
    assert.equal(await write({ a: '1' }, '2'), false);
  });

  it('replaces everything at once and leaves nothing of the old version', async () => {
    await write({ a: '1', b: '1' }, '1');
    await write({ a: '2', c: '2' }, '2');
    assert.deepEqual(readdirSync(root).sort(), ['..1970_01_01_00_00_00.2', '..data', 'a', 'c']);
    assert.equal(readFileSync(join(root, 'a'), 'utf8'), '2');
  });

  it('sets the permissions that were asked for, whatever the umask', async () => {
    await write({ a: '1' }, '1', 0o666);
    assert.equal(lstatSync(join(root, '..data', 'a')).mode & 0o777, 0o666);
  });

  for (const path of ['../x', '/x', '..x', 'a/../b', '']) {
    it(`refuses the path "${path}"`, () => assert.rejects(write({ [path]: '1' }, '1'), { code: 'VOLUME' }));
  }
});

describe('configMapPayload', () => {
  const configMap = { data: { a: '1', b: '2' }, binaryData: { c: 'AAE=' } } as unknown as ConfigMap;

  it('makes a file of every key', () => {
    const files = configMapPayload(configMap, { items: undefined, defaultMode: 0o644, optional: false });
    assert.deepEqual([...files.keys()], ['a', 'b', 'c']);
    assert.deepEqual([...(files.get('c')?.content ?? [])], [0, 1]);
  });

  it('makes the files that items name, with their modes', () => {
    const items = [{ key: 'a', path: 'x/y', mode: 0o400 }];
    const files = configMapPayload(configMap, { items, defaultMode: 0o644, optional: false });
    assert.deepEqual(
      [...files].map(([path, { mode }]) => [path, mode]),
      [['x/y', 0o400]],
    );
  });

  it('fails for a key that is not there unless that is allowed', () => {
    const items = [{ key: 'no', path: 'p' }];
    const project = (optional: boolean) => configMapPayload(configMap, { items, defaultMode: 0o644, optional });
    assert.throws(() => project(false), /references non-existent config key: no/);
    assert.equal(project(true).size, 0);
  });
});

describe('ensureHostPath', () => {
  it('creates what may be created', async () => {
    await ensureHostPath({ path: join(root, 'd/e'), type: 'DirectoryOrCreate' });
    await ensureHostPath({ path: join(root, 'd/f'), type: 'FileOrCreate' });
    assert.ok(lstatSync(join(root, 'd/e')).isDirectory());
    assert.ok(lstatSync(join(root, 'd/f')).isFile());
  });

  it('refuses what is something else', async () => {
    await assert.rejects(ensureHostPath({ path: root, type: 'File' }), /is not a file/);
    await assert.rejects(ensureHostPath({ path: join(root, 'no'), type: 'Directory' }), /is not a directory/);
    await assert.rejects(ensureHostPath({ path: root, type: 'Nonsense' }), /invalid volume type/);
  });
});

describe('bindSubPath', () => {
  const bound: string[] = [];
  const mounter = createFakeMounter({ bind: async (source) => void bound.push(readlinkSync(source)) });
  const bind = (subPath: string) => bindSubPath(join(root, 'volume'), subPath, join(root, 'target'), mounter);

  beforeEach(() => {
    bound.length = 0;
    mkdirSync(join(root, 'volume/inner'), { recursive: true });
    writeFileSync(join(root, 'volume/inner/file'), 'text');
  });

  it('binds a file onto a file', async () => {
    await bind('inner/file');
    assert.deepEqual(bound, [join(root, 'volume/inner/file')]);
    assert.ok(lstatSync(join(root, 'target')).isFile());
  });

  it('creates directories that are missing', async () => {
    await bind('new/deep');
    assert.deepEqual(bound, [join(root, 'volume/new/deep')]);
  });

  it('follows links inside the volume', async () => {
    symlinkSync('inner/file', join(root, 'volume/link'));
    await bind('link');
    assert.deepEqual(bound, [join(root, 'volume/inner/file')]);
  });

  it('follows no link out of the volume', async () => {
    symlinkSync('/etc', join(root, 'volume/absolute'));
    symlinkSync('../..', join(root, 'volume/up'));
    await assert.rejects(bind('absolute'), /leads out of its volume/);
    await assert.rejects(bind('up'), /leads out of its volume/);
    await assert.rejects(bind('../x'), /not inside its volume/);
    assert.deepEqual(bound, []);
  });
});

describe('parseMountPoints', () => {
  it('lists mounts below a directory, deepest first, with escapes undone', () => {
    const text = ['1 0 0:1 / / rw', '2 1 0:2 / /p/a rw', '3 1 0:3 / /p/a/b\\040c rw', '4 1 0:4 / /px rw'].join('\n');
    assert.deepEqual(parseMountPoints(text, '/p'), ['/p/a/b c', '/p/a']);
  });
});
