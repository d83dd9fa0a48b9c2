import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { createLogFormatter } from '../../../../agent/server/log-format.ts';
import { type LogOptions, readLog } from '../../../../agent/server/read-log.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';

const plain: LogOptions = {
  follow: false,
  timestamps: false,
  tailLines: undefined,
  sinceMs: undefined,
  limitBytes: undefined,
  stream: 'All',
};
const line = (content: string, tag = 'F', stream = 'stdout') => `2026-01-01T00:00:00.5Z ${stream} ${tag} ${content}\n`;

describe('createLogFormatter', () => {
  it('prints the same whatever the pieces, characters cut by the runtime included', () => {
    const [one, two] = [Buffer.from('a€b').subarray(0, 2), Buffer.from('a€b').subarray(2)];
    const log = Buffer.concat([
      Buffer.from('2026-01-01T00:00:00Z stdout P '),
      one,
      Buffer.from('\n2026-01-01T00:00:00Z stdout F '),
      two,
      Buffer.from(`\n${line('next')}`),
    ]);
    for (const size of [1, 7, 1000]) {
      const format = createLogFormatter({ ...plain, timestamps: true });
      const out: Buffer[] = [];
      for (let at = 0; at < log.length; at += size) out.push(format(log.subarray(at, at + size)));
      const text = Buffer.concat(out).toString();
      assert.equal(text, '2026-01-01T00:00:00.000000000Z a€b\n2026-01-01T00:00:00.500000000Z next\n');
    }
  });

  it('passes bytes on that are no text, and leaves out lines that are none', () => {
    const format = createLogFormatter(plain);
    const bytes = Buffer.from([0xff, 0x00, 0xfe]);
    const log = Buffer.concat([Buffer.from('garbage\n2026-01-01T00:00:00Z stderr F '), bytes, Buffer.from('\n')]);
    assert.deepEqual(format(log), Buffer.concat([bytes, Buffer.from('\n')]));
  });

  it('selects a stream', () => {
    const format = createLogFormatter({ ...plain, stream: 'Stderr' });
    assert.equal(format(Buffer.from(line('out') + line('err', 'F', 'stderr'))).toString(), 'err\n');
  });
});

describe('readLog', () => {
  const directory = mkdtempSync(join(tmpdir(), 'read-log-'));
  const path = join(directory, '0.log');
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('follows over rotations without a gap or a repeat, also when the older files are gone before they were read', async () => {
    const clock = createFakeClock(0);
    let running = true;
    const stop = new AbortController();
    writeFileSync(path, line('one'));
    const source = { isRunning: () => running, clock, signal: stop.signal };
    const reading = readLog(path, { ...plain, follow: true }, source);
    const seen: string[] = [String((await reading.next()).value)];
    // The reader is slow: three files come and go before it asks again.
    for (const content of ['two', 'three', 'four']) {
      appendFileSync(path, line(`${content} late`));
      renameSync(path, `${path}.20260101-00000${seen.length}`);
      rmSync(`${path}.20260101-00000${seen.length}`);
      writeFileSync(path, line(content));
      await clock.advance(200);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    running = false;
    const rest = (async () => {
      for await (const part of reading) seen.push(String(part));
    })();
    await clock.advance(200);
    await rest;
    assert.equal(seen.join(''), 'one\ntwo late\ntwo\nthree late\nthree\nfour late\nfour\n');
  });

  it('reads what was written to the next file just before the container ended', async () => {
    const clock = createFakeClock(0);
    writeFileSync(path, line('one'));
    let looks = 0;
    const isRunning = () => {
      looks += 1;
      if (looks === 2) {
        renameSync(path, `${path}.20260101-000000`);
        writeFileSync(path, line('last words'));
      }
      return false;
    };
    const seen: string[] = [];
    const source = { isRunning, clock, signal: new AbortController().signal };
    for await (const part of readLog(path, { ...plain, follow: true }, source)) seen.push(String(part));
    assert.equal(seen.join(''), 'one\nlast words\n');
  });
});
