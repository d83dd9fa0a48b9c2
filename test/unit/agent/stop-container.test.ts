import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Lifecycle, Pod } from '#kube/api/generated/core-v1.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { stopContainers } from '../../../agent/sync/stop-container.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';
import { container, podOf, run } from './fixtures.ts';

const sleeping = (seconds: number): { lifecycle: Lifecycle } => ({ lifecycle: { preStop: { sleep: { seconds } } } });

/** Stops all containers of the pod; each takes as long to end as `endsAfterMs` says. Answers what happened when. */
async function stop(pod: Pod, graceSeconds: number, endsAfterMs: Record<string, number>, abrupt = false) {
  const clock = createFakeClock(0);
  const log: string[] = [];
  const runtime = {
    async stopContainer(id: string, timeout: number) {
      log.push(`${clock.monotonicMs() / 1000}s stop ${id} in ${timeout}`);
      await clock.sleep(Math.min(endsAfterMs[id] ?? 0, timeout * 1000));
    },
  } as unknown as RuntimeService;
  const record = (_: Pod, type: string, reason: string) => void (type === 'Warning' && log.push(reason));
  const tools = {
    runtime,
    httpGet: async () => ({ status: 200, statusText: '', body: '' }),
    clock,
    record,
    logger: pino({ level: 'silent' }),
  };
  const names = [...(pod.spec.initContainers ?? []), ...pod.spec.containers].map(({ name }) => name);
  const targets = names.map((name) => run(name, { id: name }));
  const done = stopContainers(
    tools,
    pod,
    targets,
    { graceSeconds, podIp: undefined, abrupt },
    new AbortController().signal,
  );
  let over = false;
  void done.finally(() => {
    over = true;
  });
  for (let second = 0; !over && second < 200; second += 0.5) {
    await clock.advance(500);
    await settle();
  }
  await done;
  return log;
}

describe('stopContainers', () => {
  it('gives the signal what the hook has left of the grace period', async () => {
    const pod = podOf({ containers: [container('c', sleeping(4))] });
    assert.deepEqual(await stop(pod, 10, {}), ['4s stop c in 6']);
  });

  it('cuts a hook off when the grace period is over, which is no failure', async () => {
    const pod = podOf({ containers: [container('c', sleeping(100))] });
    assert.deepEqual(await stop(pod, 3, {}), ['3s stop c in 2']);
  });

  it('runs no hook without a grace period, or where there is to be none', async () => {
    const pod = podOf({ containers: [container('c', sleeping(4))] });
    assert.deepEqual(await stop(pod, 0, {}), ['0s stop c in 2']);
    assert.deepEqual(await stop(pod, 10, {}, true), ['0s stop c in 10']);
  });

  const side = (name: string, extra = {}) => container(name, { restartPolicy: 'Always', ...extra });

  it('stops sidecars one after another behind the containers, all in one grace period', async () => {
    const pod = podOf({ initContainers: [side('s1'), side('s2')], containers: [container('a'), container('b')] });
    assert.deepEqual(await stop(pod, 30, { a: 2000, b: 4000, s2: 1000 }), [
      '0s stop a in 30',
      '0s stop b in 30',
      '4s stop s2 in 26',
      '5s stop s1 in 25',
    ]);
  });

  it('runs the hooks of sidecars at once, and their signals in their turn', async () => {
    const pod = podOf({ initContainers: [side('s', sleeping(3))], containers: [container('a')] });
    assert.deepEqual(await stop(pod, 30, { a: 5000 }), ['0s stop a in 30', '5s stop s in 25']);
    assert.deepEqual(await stop(pod, 30, { a: 1000 }), ['0s stop a in 30', '3s stop s in 27']);
  });

  it('lets no sidecar wait beyond the grace period', async () => {
    const pod = podOf({ initContainers: [side('s')], containers: [container('a')] });
    assert.deepEqual(await stop(pod, 5, { a: 60_000 }), ['0s stop a in 5', '5s stop s in 2']);
  });

  it('tells a hook that fails, and stops the container all the same', async () => {
    const broken = { lifecycle: { preStop: { tcpSocket: { port: 1 } } } };
    const pod = podOf({ containers: [container('c', broken)] });
    assert.deepEqual(await stop(pod, 10, {}), ['FailedPreStopHook', '0s stop c in 10']);
  });
});
