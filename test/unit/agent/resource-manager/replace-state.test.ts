import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { replaceState } from '../../../../agent/resource-manager/replace-state.ts';

describe('the state file of a manager', () => {
  const directory = mkdtempSync(join(tmpdir(), 'state-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('is not written when it says so already, as on a full disk', async () => {
    const path = join(directory, 'below', 'state');
    await replaceState(path, 'one');
    const { ino, mode } = statSync(path);
    assert.equal(mode & 0o777, 0o600);
    await replaceState(path, 'one');
    assert.equal(statSync(path).ino, ino);
    await replaceState(path, 'two');
    assert.equal(readFileSync(path, 'utf8'), 'two');
  });
});
