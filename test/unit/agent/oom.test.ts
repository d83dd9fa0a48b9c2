// Processes that were killed because memory ran out, from the kernel's log to events and counts.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { openOomCounts } from '../../../agent/oom/oom-counts.ts';
import { parseKernelRecord, parseOomKill } from '../../../agent/oom/parse-kernel-log.ts';

const line =
  'oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=abc,mems_allowed=0,oom_memcg=/kubepods/podx/abc,task_memcg=/kubepods/podx/abc,task=my,app,pid=4711,uid=0';

describe('the log of the kernel', () => {
  it('tells which process of which cgroup was killed', () => {
    assert.deepEqual(parseKernelRecord(`6,1234,99887766,-;${line}\n SUBSYSTEM=x\n`), { sequence: 1234, text: line });
    assert.deepEqual(parseOomKill(line), {
      cgroup: '/kubepods/podx/abc',
      limitedCgroup: '/kubepods/podx/abc',
      process: 'my,app',
      pid: 4711,
    });
  });

  it('tells when the machine as a whole ran out', () => {
    const text =
      'oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/a,task=x,pid=1,uid=5';
    assert.equal(parseOomKill(text)?.limitedCgroup, '/');
  });

  it('tells of much else', () => {
    assert.equal(parseOomKill('veth0: entered disabled state'), undefined);
    assert.equal(parseKernelRecord('no record'), undefined);
  });
});

describe('counts of OOM kills', () => {
  it('outlive the agent, but not the pod, and know how far the log was read in this boot', async (t) => {
    const directory = mkdtempSync(join(tmpdir(), 'oom-'));
    t.after(() => rmSync(directory, { recursive: true }));
    const open = (bootId: string) => openOomCounts(join(directory, 'oom.json'), bootId, pino({ level: 'silent' }));
    const counts = await open('boot-1');
    assert.equal(counts.sequence(), -1);
    counts.add('pod-1', 'c');
    counts.add('pod-1', 'c');
    counts.add('pod-2', 'c');
    await counts.save(77, new Set(['pod-1']));
    const again = await open('boot-1');
    assert.deepEqual([again.sequence(), again.of('pod-1', 'c'), again.of('pod-2', 'c')], [77, 2, 0]);
    assert.deepEqual([(await open('boot-2')).sequence(), (await open('boot-2')).of('pod-1', 'c')], [-1, 2]);
  });
});
