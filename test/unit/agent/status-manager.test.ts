import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Pod, PodStatus } from '#kube/api/generated/core-v1.ts';
import { createStatusManager } from '../../../agent/status/status-manager.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { createFakePodApi } from '../../support/fake-pod-api.ts';
import { container, podOf } from './fixtures.ts';

const waitingFor = (reason: string): PodStatus => ({
  phase: 'Pending',
  containerStatuses: [
    { name: 'a', image: '', imageID: '', ready: false, restartCount: 0, state: { waiting: { reason } }, lastState: {} },
  ],
});

async function start(metadata: Partial<Pod['metadata']> = {}) {
  const clock = createFakeClock();
  const pod = podOf({ containers: [container('a')] }, metadata);
  const api = createFakePodApi(pod, { changed: () => undefined, deleted: () => undefined });
  const statuses = createStatusManager({
    client: api.client,
    clock,
    logger: pino({ level: 'silent' }),
    startingDelayMs: 1000,
  });
  const stop = new AbortController();
  const running = statuses.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  const writes = () => api.seen.filter(({ event }) => event === 'MODIFIED').length;
  const set = (status: PodStatus) => statuses.set(api.current() ?? pod, status, { mayRun: true });
  return { clock, set, writes, end, statuses, api, pod };
}

describe('the status manager', () => {
  it('leaves out the news that a pod is on its way when it runs soon after', async () => {
    const { clock, set, writes, end } = await start();
    set(waitingFor('ContainerCreating'));
    await clock.advance(400);
    assert.equal(writes(), 0);
    set({ phase: 'Running' });
    await settle();
    assert.equal(writes(), 1);
    await clock.advance(2000);
    assert.equal(writes(), 1);
    await end();
  });

  it('tells that a pod is on its way when that takes long', async () => {
    const { clock, set, writes, end } = await start();
    set(waitingFor('ContainerCreating'));
    await clock.advance(1000);
    await settle();
    assert.equal(writes(), 1);
    await end();
  });

  it('tells at once why a container cannot start', async () => {
    const { set, writes, end } = await start();
    set(waitingFor('ErrImagePull'));
    await settle();
    assert.equal(writes(), 1);
    await end();
  });

  it('shows the status of a static pod in its mirror, whichever came first', async () => {
    const annotations = { 'kubernetes.io/config.mirror': 'static-uid', 'kubernetes.io/config.source': 'file' };
    const { statuses, writes, end, pod } = await start({ annotations });
    const own = podOf(
      { containers: [container('a')] },
      { uid: 'static-uid', annotations: { 'kubernetes.io/config.source': 'file' } },
    );
    statuses.observe(pod);
    statuses.set(own, { phase: 'Running' }, { mayRun: true });
    await settle();
    assert.equal(writes(), 1);
    await end();

    const later = await start({ annotations });
    later.statuses.set(own, { phase: 'Running' }, { mayRun: true });
    await settle();
    assert.equal(later.writes(), 0);
    later.statuses.observe(later.pod);
    await settle();
    assert.equal(later.writes(), 1);
    await later.end();
  });
});
