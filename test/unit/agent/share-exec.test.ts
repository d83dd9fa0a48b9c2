import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Probe } from '#kube/api/generated/core-v1.ts';
import type { ProbeResult } from '../../../agent/probe/probe-result.ts';
import { createExecSharing, mayShareExec } from '../../../agent/probe/share-exec.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

const probe: Probe = { exec: { command: ['check'] }, periodSeconds: 10 };
const ok: ProbeResult = { result: 'success', output: '' };

describe('sharing executions of probes', () => {
  it('is asked for by the pod, and possible for commands only', () => {
    const asks = podOf({ containers: [container('c')] }, { annotations: { 'berth.io/share-exec-probes': 'true' } });
    assert.equal(mayShareExec(asks, probe), true);
    assert.equal(mayShareExec(asks, { tcpSocket: { port: 1 } }), false);
    assert.equal(mayShareExec(podOf({ containers: [container('c')] }), probe), false);
  });

  it('runs an identical command once in a period, and gives each probe every answer once', async () => {
    const clock = createFakeClock();
    const sharing = createExecSharing(clock);
    let runs = 0;
    const ask = (type: string, own: Probe = probe, containerId = 'c-0') =>
      sharing.run({ containerId, type, probe: own }, async () => {
        runs += 1;
        return ok;
      });
    await ask('liveness');
    await clock.advance(3000);
    await ask('readiness');
    assert.equal(runs, 1);
    await clock.advance(7000);
    await ask('liveness');
    assert.equal(runs, 2);
    await clock.advance(3000);
    await ask('readiness');
    assert.equal(runs, 2);
    await ask('readiness');
    assert.equal(runs, 3);
    await ask('liveness', { ...probe, exec: { command: ['other'] } });
    await ask('liveness', probe, 'c-1');
    await ask('liveness', { ...probe, timeoutSeconds: 5 });
    assert.equal(runs, 6);
  });
});
