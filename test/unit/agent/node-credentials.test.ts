import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { nodeCredentialFiles, readNodeCredentials } from '../../../agent/image/node-credentials.ts';

const auth = Buffer.from('user:secret').toString('base64');

describe("the node's registry credentials", () => {
  const directory = mkdtempSync(join(tmpdir(), 'node-credentials-'));
  after(() => rmSync(directory, { recursive: true, force: true }));
  const [root, work, home] = ['root', 'work', 'home'].map((name) => join(directory, name));
  const files = nodeCredentialFiles(root ?? '', work ?? '', home ?? '').filter(({ path }) =>
    path.startsWith(directory),
  );

  it('are those of the first file there is', async () => {
    assert.deepEqual(await readNodeCredentials(files), []);
    mkdirSync(join(home ?? '', '.docker'), { recursive: true });
    mkdirSync(root ?? '');
    writeFileSync(join(home ?? '', '.dockercfg'), JSON.stringify({ 'old.example': { auth } }));
    assert.deepEqual((await readNodeCredentials(files)).length, 1);
    writeFileSync(
      join(home ?? '', '.docker/config.json'),
      JSON.stringify({ auths: { 'a.example': { auth }, 'b.example': { auth } } }),
    );
    assert.deepEqual((await readNodeCredentials(files)).length, 2);
    writeFileSync(join(root ?? '', 'config.json'), JSON.stringify({ auths: { 'c.example': { auth } } }));
    assert.deepEqual((await readNodeCredentials(files)).length, 1);
  });
});
