import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';

const root = join(import.meta.dirname, '../../..');
const read = (path: string): string => readFileSync(join(root, path), 'utf8');

/** A behaviour as tests and the table call it: without its tags. */
function nameOf(codename: string): string {
  return codename
    .replace(/\[(?!DRA)[^\]]*\]/g, '')
    .replace(/\s+/g, ' ')
    .trim();
}

/** Rows of the page: behaviour -> what proves it. */
function rowsOf(page: string): Map<string, string> {
  const rows = [...page.matchAll(/^\| (.+?) +\| (.+?) +\|$/gm)].map(
    ([, behaviour = '', proof = '']) => [behaviour.replaceAll('\\', ''), proof] as const,
  );
  return new Map(rows);
}

for (const [page, facts, what] of [
  ['docs/conformance-node.md', 'test/data/conformance/node.json', 'a node'],
  ['docs/conformance-network.md', 'test/data/conformance/network.json', 'the network'],
  ['docs/conformance-api.md', 'test/data/conformance/api.json', 'the API'],
  ['docs/conformance-workloads.md', 'test/data/conformance/workloads.json', 'workloads'],
] as const) {
  describe(page, () => {
    const codenames = JSON.parse(read(facts)) as string[];
    const rows = rowsOf(read(page));

    it(`has a row for every behaviour of ${what}`, () => {
      assert.deepEqual(
        codenames.map(nameOf).filter((name) => !rows.has(name)),
        [],
      );
    });

    it('names tests that exist, or says why there is none yet', () => {
      const wrong = codenames.map(nameOf).filter((name) => {
        const proof = rows.get(name) ?? '';
        if (/^not yet: \S/.test(proof)) return false;
        const file = /^`(.+)`$/.exec(proof)?.[1];
        if (file === undefined || !existsSync(join(root, file))) return true;
        const source = read(file);
        return ![`'${name}'`, `"${name}"`, `'${name.replaceAll("'", "\\'")}'`].some((text) => source.includes(text));
      });
      assert.deepEqual(wrong, []);
    });
  });
}
