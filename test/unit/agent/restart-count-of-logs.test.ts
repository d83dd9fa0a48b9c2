// Restart counts of containers that the runtime forgot.
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { restartCountOfLogs } from '../../../agent/container/restart-count-of-logs.ts';

describe('restartCountOfLogs', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'berth-logs-'));
  });
  after(() => rm(directory, { recursive: true }));

  it('starts at nothing where there is no log', async () => {
    assert.equal(await restartCountOfLogs(directory), 0);
    assert.equal(await restartCountOfLogs(join(directory, 'none')), 0);
  });

  it('goes on after the newest log, rotated ones included', async () => {
    for (const name of ['0.log', '2.log.20260101-000000', '11.log', 'notes'])
      await writeFile(join(directory, name), '');
    assert.equal(await restartCountOfLogs(directory), 12);
  });
});
