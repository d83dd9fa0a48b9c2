// Half a minute of pods that come and go: what a node holds is level at the end. The long version is
// `npm run bench:soak`.
import assert from 'node:assert/strict';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { SoakResult } from '../../bench/soak/soak-node.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';

const skip = clustersUnavailable() ?? false;
const program = join(import.meta.dirname, '../support/soak-program.ts');
/** Descriptors of connections that come and go. */
const descriptorSlack = 8;
/** Namespaces that nobody is in are counted on the whole machine, where other tests run pods. */
const namespaceSlack = 6;
/** Memory has not settled after so short a time: only what runs away is found. */
const memorySlackMb = 60;

describe('a node whose pods come and go', { skip }, () => {
  let cluster: TestCluster;
  before(async () => {
    cluster = await startTestCluster();
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  it('holds no more at the end than after the first of them', async () => {
    const args = [program, cluster.layout.instance, hostname().trim().toLowerCase()];
    const run = await cluster.namespace.exec(process.execPath, args, { signal: AbortSignal.timeout(240_000) });
    assert.equal(run.exitCode, 0, run.stderr);
    const { pods, before: first, after: last, memory } = JSON.parse(run.stdout) as SoakResult;
    assert.ok(pods > 12, `${pods} pods`);
    const slack: Partial<Record<string, number>> = {
      descriptors: descriptorSlack,
      networkNamespaces: namespaceSlack,
    };
    for (const [name, value] of Object.entries(last)) {
      const limit = first[name as keyof typeof first] + (slack[name] ?? 0);
      assert.ok(value <= limit, `${name}: ${value} after ${pods} pods, ${limit} at most`);
    }
    for (const [name, { before: start, after: end }] of Object.entries(memory)) {
      assert.ok(end <= start + memorySlackMb, `memory of ${name}: ${end} MB, ${start} MB before`);
    }
  });
});
