import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { replaceFile } from '#kube/process/replace-file.ts';

describe('replaceFile', () => {
  let root = '';
  const mode = async (path: string) => (await stat(path)).mode & 0o777;

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'replace-file-'));
  });
  after(() => rm(root, { recursive: true, force: true }));

  it('makes the directories and the file with the modes asked for, private where nothing is said', async () => {
    await replaceFile(join(root, 'own', 'secret'), 'one');
    await replaceFile(join(root, 'open', 'text'), 'one', { mode: 0o644, directoryMode: 0o755, flush: false });
    assert.equal(await mode(join(root, 'own')), 0o750);
    assert.equal(await mode(join(root, 'own', 'secret')), 0o600);
    assert.equal(await mode(join(root, 'open')), 0o755);
    assert.equal(await mode(join(root, 'open', 'text')), 0o644);
  });

  it('replaces the text, and narrows what an interrupted run left open', async () => {
    const path = join(root, 'state');
    await writeFile(path, 'old', { mode: 0o644 });
    await writeFile(`${path}.new`, 'half of a longer text', { mode: 0o644 });
    await replaceFile(path, Buffer.from('new'));
    assert.equal(await readFile(path, 'utf8'), 'new');
    assert.equal(await mode(path), 0o600);
  });

  it('leaves what was there, and nothing beside it, when the text cannot be written', async () => {
    const full = join(root, 'full');
    await replaceFile(full, 'old');
    const unwritable = { toString: () => 'x' } as unknown as string;
    await assert.rejects(replaceFile(full, unwritable));
    assert.equal(await readFile(full, 'utf8'), 'old');
    assert.deepEqual(
      (await readdir(root)).filter((name) => name.endsWith('.new')),
      [],
    );
  });
});
