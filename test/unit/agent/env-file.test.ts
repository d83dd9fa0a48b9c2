import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parseEnvFile } from '../../../agent/container/env-file.ts';
import { buildEnvironment } from '../../../agent/container/environment.ts';
import { readVolumeFile } from '../../../agent/container/read-volume-file.ts';
import { container, podOf } from './fixtures.ts';

describe('parseEnvFile', () => {
  const values: [string, string, string][] = [
    ['reads a value', "A='1'\nB='2'\n", '2'],
    ['takes quoted text literally', 'B=\'a \\n $HOME "x"\'', 'a \\n $HOME "x"'],
    ['keeps line breaks inside quotes', "B='a\n\n  # b'\nC='3'", 'a\n\n  # b'],
    ['ignores comments, blank lines and leading blanks', "# B='no'\n\n  B='yes' # why\n", 'yes'],
    ['takes a blank after the equals sign for an empty value', "B= 'x'", ''],
    ['has nothing for a name that is not there', "A='1'", ''],
    ['accepts line ends of other systems', "B='x'\r\n", 'x'],
  ];
  for (const [name, text, expected] of values) it(name, () => assert.equal(parseEnvFile(text, 'B'), expected));

  const faults: [string, string, RegExp][] = [
    ['a line without an equals sign', 'A', /line 1: missing '='/],
    ['no name', "\n='x'", /line 2: empty variable name/],
    ['a blank before the equals sign', "A ='x'", /line 1: whitespace before '=' is not allowed/],
    ['a value without quotes', 'A=x', /line 1: value must be enclosed in single quotes/],
    ['more after the closing quote', "A='x'y", /line 1: unexpected content after closing quote/],
    ['a quote that is not closed', "\nA='x\n\n", /starting at line 2: unclosed single quote/],
  ];
  for (const [name, text, message] of faults) {
    it(`refuses ${name}`, () => assert.throws(() => parseEnvFile(text, 'B'), message));
  }
});

describe('readVolumeFile', () => {
  let root: string;
  before(() => {
    root = mkdtempSync(join(tmpdir(), 'volume-file-'));
    mkdirSync(join(root, 'volume/dir'), { recursive: true });
    writeFileSync(join(root, 'secret'), "A='secret'");
    writeFileSync(join(root, 'volume/dir/file'), "A='1'");
    symlinkSync('/dir/file', join(root, 'volume/absolute'));
    symlinkSync('../../secret', join(root, 'volume/out'));
    symlinkSync('loop', join(root, 'volume/loop'));
    execFileSync('mkfifo', [join(root, 'volume/pipe')]);
  });
  after(() => rmSync(root, { recursive: true }));
  const read = (path: string) => readVolumeFile(join(root, 'volume'), path);

  it('reads a file, also behind links that stay inside', async () => {
    assert.equal(await read('dir/file'), "A='1'");
    assert.equal(await read('absolute'), "A='1'");
    assert.equal(await read('../../dir/./file'), "A='1'", 'the volume is the root of the tree');
  });

  it('never leaves the volume', async () => assert.equal(await read('out'), undefined));
  it('has nothing where there is nothing', async () => assert.equal(await read('dir/none'), undefined));
  it('does not wait for a pipe', () => assert.rejects(read('pipe'), /no plain file/));
  it('does not follow links for ever', () => assert.rejects(read('loop'), /too many links/));
  it('refuses a directory', () => assert.rejects(read('dir'), /no plain file/));
});

describe('variables from files', () => {
  const settings = { hostIps: [], podIps: [], nodeAllocatable: {} };
  const build = (optional: boolean, text: string | undefined) => {
    const fileKeyRef = { volumeName: 'data', path: 'env', key: 'B', optional };
    const own = container('c', { env: [{ name: 'X', valueFrom: { fileKeyRef } }] });
    const sources = { configMap: async () => undefined, secret: async () => undefined, file: async () => text };
    return buildEnvironment(podOf({ containers: [own] }), own, new Map(), sources, settings);
  };

  it('have the value of their key', async () => assert.deepEqual([...(await build(false, "B='1'"))], [['X', '1']]));
  it('are left out when they are optional', async () => {
    assert.equal((await build(true, undefined)).size, 0);
    assert.equal((await build(true, "A='1'")).size, 0);
  });
  it('keep the container from starting otherwise', async () => {
    await assert.rejects(build(false, undefined), { code: 'CREATE_CONTAINER_CONFIG' });
    await assert.rejects(build(false, "A='1'"), /environment variable key "B" not found in file "env"/);
    await assert.rejects(build(true, 'B=1'), /must be enclosed in single quotes/, 'also for an optional one');
  });
});
