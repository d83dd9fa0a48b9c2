import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Exec } from '#kube/process/exec.ts';
import { applyConntrack } from '../../../proxy/apply/conntrack.ts';
import type { ConntrackDeletion } from '../../../proxy/plan/plan-conntrack.ts';

const flows = [
  'udp      17 29 src=192.0.2.9 dst=10.96.0.10 sport=5000 dport=53 [UNREPLIED] src=10.244.0.7 dst=192.0.2.9 sport=53 dport=5000 mark=0 use=1',
  'udp      17 29 src=192.0.2.9 dst=10.96.0.11 sport=5000 dport=53 src=10.96.0.11 dst=192.0.2.9 sport=53 dport=5000 mark=0 use=1',
  'udp      17 29 src=192.0.2.9 dst=192.0.2.1 sport=5001 dport=30053 src=10.244.0.7 dst=192.0.2.1 sport=53 dport=5001 mark=0 use=1',
].join('\n');

/** conntrack with the flows above, old or new. */
function createFakeConntrack(canRead: boolean) {
  const calls: string[] = [];
  const exec: Exec = async (file, args, options) => {
    calls.push([file, ...args, ...(options?.input === undefined ? [] : ['<', String(options.input).trim()])].join(' '));
    if (args[0] === '-L') return { exitCode: 0, stdout: args.includes('ipv4') ? flows : '', stderr: '' };
    const exitCode = args[0] === '-R' && !canRead ? 2 : 0;
    return { exitCode, stdout: '', stderr: '' };
  };
  return { exec, calls };
}

const deletion = (rest: Partial<ConntrackDeletion>): ConntrackDeletion => ({
  family: 'IPv4',
  destinationPort: 53,
  ...rest,
});
const gone = deletion({ originalDestination: '10.96.0.10', endpointIP: '10.244.0.7' });
const untranslated = deletion({ originalDestination: '10.96.0.11' });
const byNodePort = deletion({ destinationPort: 30053, endpointIP: '10.244.0.7' });
const idle = deletion({ originalDestination: '10.96.0.10', endpointIP: '10.244.0.8' });
const translated = deletion({ originalDestination: '10.96.0.10' });

describe('applyConntrack', () => {
  it('looks once which of many deletions have something to delete, and makes those in one go', async () => {
    const { exec, calls } = createFakeConntrack(true);
    await applyConntrack(exec, [gone, idle, untranslated, translated, byNodePort]);
    assert.equal(calls.length, 2);
    assert.equal(calls[0], 'conntrack -L -f ipv4 -p udp');
    assert.deepEqual(calls[1]?.split('\n'), [
      'conntrack -R - < -D -f ipv4 -p udp --dport 53 --orig-dst 10.96.0.10 --dst-nat 10.244.0.7',
      '-D -f ipv4 -p udp --dport 53 --orig-dst 10.96.0.11 --reply-src 10.96.0.11',
      '-D -f ipv4 -p udp --dport 30053 --dst-nat 10.244.0.7',
    ]);
  });

  it('makes them one by one where conntrack reads no commands', async () => {
    const { exec, calls } = createFakeConntrack(false);
    await applyConntrack(exec, [gone, untranslated]);
    assert.equal(calls.filter((call) => call.startsWith('conntrack -D ')).length, 2);
  });

  it('does nothing where nothing is to be deleted, and one deletion without a look', async () => {
    const { exec, calls } = createFakeConntrack(true);
    await applyConntrack(exec, []);
    await applyConntrack(exec, [idle, translated]);
    assert.deepEqual(calls, ['conntrack -L -f ipv4 -p udp']);
    await applyConntrack(exec, [gone]);
    assert.equal(calls.length, 2);
  });
});
