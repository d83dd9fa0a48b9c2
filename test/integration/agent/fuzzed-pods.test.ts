// Pods made from the schema with hostile names, paths and numbers: whatever they say, the agent goes on, ends them, and
// touches nothing outside its directory.
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { ConfigMap, Secret } from '#kube/api/generated/core-v1.ts';
import { fuzzPod } from '../../support/pod-fuzzer.ts';
import { startPodHarness } from '../../support/pod-harness.ts';

const pods = 150;
const token = 'fuzzedname';
const seed = Number(process.env['FUZZ_SEED'] ?? Date.now() % 1_000_000);
const hostileKeys = { k: 'v', [`../../${token}`]: 'v', '..': 'v', [`a/${token}`]: 'v', __proto__x: 'v' };

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) =>
    relative(directory, join(entry.parentPath, entry.name)),
  );
}

describe(`pods from a fuzzer (FUZZ_SEED=${seed})`, () => {
  const outside = mkdtempSync(join(tmpdir(), 'fuzz-'));
  const places = ['/', '/tmp', '/etc', '/dev', process.cwd()];
  const listing = () => places.flatMap((place) => readdirSync(place).filter((name) => name.includes(token)));
  const before_ = listing();
  const previous = process.env['TMPDIR'];
  before(() => {
    // The harness' own directory is four levels deep, so that names that climb arrive somewhere that is looked at.
    const deep = join(outside, 'a', 'b', 'c');
    mkdirSync(deep, { recursive: true });
    process.env['TMPDIR'] = deep;
  });
  after(() => {
    if (previous === undefined) delete process.env['TMPDIR'];
    else process.env['TMPDIR'] = previous;
    rmSync(outside, { recursive: true, force: true });
  });

  it('are run and ended without a crash, and without a file outside', async () => {
    for (let index = 0; index < pods; index += 1) {
      const pod = fuzzPod(seed + index, token);
      const configMap = { data: hostileKeys } as unknown as ConfigMap;
      const data = Object.fromEntries(Object.keys(hostileKeys).map((key) => [key, 'dg==']));
      const secret = { data } as unknown as Secret;
      const names = ['a', 'b', 'c', token];
      const harness = await startPodHarness({
        pod,
        nodeName: 'vm',
        hostIp: '192.0.2.2',
        memoryBytes: 1024 ** 3,
        configMaps: Object.fromEntries(names.map((name) => [name, configMap])),
        secrets: Object.fromEntries(names.map((name) => [name, secret])),
        services: [],
        runtime: {
          images: { 'image:1': 'sha256:a', 'image:2': 'sha256:b' },
          pullError: () => 'no such image',
          run: () => ({}),
          exec: () => 0,
        },
      });
      try {
        await harness.pass(1000);
        const stray = filesBelow(outside).filter((path) => path.includes(token) && !path.includes('agent-pod-'));
        assert.deepEqual(stray, [], `pod of seed ${seed + index}`);
        await harness.deletePod();
        await harness.pass(6000);
        assert.equal(harness.api.current(), undefined, `pod of seed ${seed + index} was not ended`);
      } finally {
        await harness.close();
      }
    }
    assert.deepEqual(listing(), before_);
  });
});
