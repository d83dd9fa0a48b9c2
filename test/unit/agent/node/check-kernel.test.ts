import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { it } from 'node:test';
import { findKernelFaults } from '../../../../agent/node/check-kernel.ts';

it('names kernel settings that differ, and how to put them right', async (t) => {
  const root = mkdtempSync(join(tmpdir(), 'check-kernel-'));
  t.after(() => rmSync(root, { recursive: true }));
  const settings = { 'vm/overcommit_memory': '0\n', 'vm/panic_on_oom': '0\n', 'kernel/panic': '10\n' };
  for (const [name, value] of Object.entries(settings)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), value);
  }
  assert.deepEqual(await findKernelFaults(root), [
    'invalid kernel flag: vm/overcommit_memory, expected value: 1, actual value: 0 (sysctl -w vm.overcommit_memory=1)',
  ]);
});
