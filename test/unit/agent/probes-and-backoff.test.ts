import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Probe } from '#kube/api/generated/core-v1.ts';
import { imageNameFault, parseImageReference } from '../../../agent/image/image-reference.ts';
import { parseDockerConfig, selectCredentials } from '../../../agent/image/pull-credentials.ts';
import { httpTarget } from '../../../agent/probe/http-get.ts';
import { dialErrorText, type ProbeResult } from '../../../agent/probe/probe-result.ts';
import { type ProbeType, startProbeWorker } from '../../../agent/probe/probe-worker.ts';
import { createKeyBackoff } from '../../../agent/sync/key-backoff.ts';
import { planStopOrder } from '../../../agent/sync/stop-container.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf, run } from './fixtures.ts';

function start(
  type: ProbeType,
  probe: Probe,
  results: ProbeResult['result'][],
  initial: 'success' | 'failure' | 'unknown',
) {
  const clock = createFakeClock();
  const changes: string[] = [];
  let runs = 0;
  const worker = startProbeWorker({
    type,
    probe,
    startedAtMs: clock.now(),
    initial,
    clock,
    mayRun: () => true,
    run: async () => ({ result: results[runs++] ?? 'success', output: '' }),
    observed: () => undefined,
    changed: () => void changes.push(worker.verdict),
  });
  return { clock, worker, changes, runs: () => runs };
}

describe('startProbeWorker', () => {
  it('waits for the initial delay, then probes every period', async () => {
    const { clock, runs, worker } = start('readiness', { initialDelaySeconds: 3, periodSeconds: 2 }, [], 'failure');
    await clock.advance(2900);
    assert.equal(runs(), 0);
    await clock.advance(200);
    assert.equal(runs(), 1);
    await clock.advance(4000);
    assert.equal(runs(), 3);
    worker.stop();
  });

  it('changes its verdict at the thresholds only', async () => {
    const probe = { periodSeconds: 1, failureThreshold: 2, successThreshold: 2 };
    const { clock, changes, worker } = start(
      'readiness',
      probe,
      ['success', 'success', 'failure', 'success', 'failure', 'failure'],
      'failure',
    );
    await clock.advance(1100);
    assert.deepEqual(changes, ['success']);
    await clock.advance(6000);
    assert.deepEqual(changes, ['success', 'failure', 'success']);
    worker.stop();
  });

  it('stops probing a container that has to be killed', async () => {
    const { clock, changes, runs } = start(
      'liveness',
      { periodSeconds: 1, failureThreshold: 1 },
      ['failure'],
      'success',
    );
    await clock.advance(5000);
    assert.deepEqual(changes, ['failure']);
    assert.equal(runs(), 1);
  });

  it('decides nothing by a probe that could not be made', async () => {
    const probe = { periodSeconds: 1, failureThreshold: 1 };
    const { clock, changes, worker } = start('liveness', probe, ['error', 'error'], 'success');
    await clock.advance(1500);
    assert.deepEqual(changes, []);
    worker.stop();
  });

  it('says nothing of a probe that its own end broke off', async () => {
    const clock = createFakeClock();
    const said: string[] = [];
    let runs = 0;
    const worker = startProbeWorker({
      type: 'readiness',
      probe: { periodSeconds: 1 },
      startedAtMs: clock.now(),
      initial: 'success',
      clock,
      mayRun: () => true,
      run: (signal) => {
        runs += 1;
        return new Promise((resolve) => {
          signal.addEventListener('abort', () => resolve({ result: 'error', output: 'stopped' }));
        });
      },
      observed: ({ output }) => void said.push(output),
      changed: () => void said.push('changed'),
    });
    await clock.advance(100);
    worker.stop();
    await clock.advance(5000);
    assert.deepEqual([runs, said], [1, []]);
  });

  it('ends a startup probe with its success', async () => {
    const { clock, changes, runs } = start('startup', { periodSeconds: 1 }, ['failure', 'success'], 'unknown');
    await clock.advance(10_000);
    assert.deepEqual(changes, ['success']);
    assert.equal(runs(), 2);
  });
});

describe('createKeyBackoff', () => {
  it('lets the first failure pass, then doubles up to the limit', () => {
    const clock = createFakeClock();
    const backoff = createKeyBackoff(clock, 10_000, 30_000);
    const delays: (number | undefined)[] = [];
    for (let failure = 0; failure < 5; failure += 1) {
      delays.push(backoff.waiting('k', clock.now())?.delayMs);
      backoff.advance('k', clock.now());
    }
    assert.deepEqual(delays, [undefined, 10_000, 20_000, 30_000, 30_000]);
  });

  it('counts the wait from the failure', async () => {
    const clock = createFakeClock();
    const backoff = createKeyBackoff(clock, 10_000, 300_000);
    backoff.advance('k', clock.now());
    const failedAt = clock.now();
    await clock.advance(9000);
    assert.equal(backoff.waiting('k', failedAt)?.untilMs, failedAt + 10_000);
    await clock.advance(1000);
    assert.equal(backoff.waiting('k', failedAt), undefined);
  });

  it('starts over after a container was well for ten minutes', async () => {
    const clock = createFakeClock();
    const backoff = createKeyBackoff(clock, 10_000, 300_000);
    backoff.advance('k', clock.now());
    backoff.advance('k', clock.now());
    await clock.advance(601_000);
    assert.equal(backoff.waiting('k', clock.now()), undefined);
    backoff.advance('k', clock.now());
    assert.equal(backoff.waiting('k', clock.now())?.delayMs, 10_000);
  });
});

describe('planStopOrder', () => {
  it('stops containers together, then sidecars, the last started first', () => {
    const sidecar = (name: string) => container(name, { restartPolicy: 'Always' });
    const pod = podOf({ containers: [container('a'), container('b')], initContainers: [sidecar('s1'), sidecar('s2')] });
    const order = planStopOrder(pod, [run('a'), run('s1'), run('b'), run('s2')]);
    assert.deepEqual(
      order.map((group) => group.map(({ name }) => name)),
      [['a', 'b'], ['s2'], ['s1']],
    );
  });
});

describe('httpTarget', () => {
  it('finds named ports, and adds host, path and headers', () => {
    const item = container('c', { ports: [{ name: 'web', containerPort: 8080 }] });
    const { url, headers } = httpTarget(
      { port: 'web', path: '/ok?x=1', httpHeaders: [{ name: 'X-A', value: 'b' }] },
      item,
      '10.1.0.5',
    );
    assert.equal(url.href, 'http://10.1.0.5:8080/ok?x=1');
    assert.deepEqual(headers['x-a'], ['b']);
    assert.throws(() => httpTarget({ port: 'no' }, item, '10.1.0.5'), /couldn't find port/);
  });

  it('words network errors as users know them', () => {
    const error = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
    assert.equal(dialErrorText(error, '10.1.0.5:80'), 'dial tcp 10.1.0.5:80: connect: connection refused');
  });
});

describe('image names and credentials', () => {
  for (const [text, expected] of [
    ['busybox', ['docker.io', 'library/busybox', undefined]],
    ['me/app:1', ['docker.io', 'me/app', '1']],
    ['registry.example:5000/a/b:v1', ['registry.example:5000', 'a/b', 'v1']],
    ['localhost/a', ['localhost', 'a', undefined]],
    ['UPPER/case', ['UPPER', 'case', undefined]],
  ] as const) {
    it(`takes ${text} apart`, () => {
      const reference = parseImageReference(text);
      assert.deepEqual([reference?.host, reference?.path, reference?.tag], expected);
    });
  }

  for (const text of ['', 'UPPER', 'me/UPPER', 'a b', 'a:', 'http://x/y', 'a'.repeat(64)]) {
    it(`refuses "${text}"`, () => assert.equal(parseImageReference(text), undefined));
  }

  for (const [text, fault] of [
    ['a b', 'invalid reference format'],
    ['Upper:1', 'invalid reference format: repository name (library/Upper) must be lowercase'],
    ['registry.example/me/Upper:1', 'invalid reference format: repository name (me/Upper) must be lowercase'],
    ['f'.repeat(64), `invalid repository name (${'f'.repeat(64)}), cannot specify 64-byte hexadecimal strings`],
  ] as const) {
    it(`says what is wrong with ${text.slice(0, 30)}`, () => assert.equal(imageNameFault(text), fault));
  }

  it('prefers the credentials of the longest path that fits', () => {
    const auth = Buffer.from('user:pa:ss').toString('base64');
    const text = JSON.stringify({
      auths: { 'registry.example': { auth }, 'https://registry.example/team/': { username: 'team', password: 'x' } },
    });
    const reference = parseImageReference('registry.example/team/app:1');
    assert.ok(reference);
    const found = selectCredentials(reference, parseDockerConfig(text, false));
    assert.deepEqual(
      found.map(({ auth: { username, password } }) => [username, password]),
      [
        ['team', 'x'],
        ['user', 'pa:ss'],
      ],
    );
  });

  it('matches wildcards by label, and nothing of other registries', () => {
    const text = JSON.stringify({ auths: { '*.example.com': { username: 'u', password: 'p' } } });
    const select = (image: string) => {
      const reference = parseImageReference(image);
      assert.ok(reference);
      return selectCredentials(reference, parseDockerConfig(text, false)).length;
    };
    assert.equal(select('a.example.com/x'), 1);
    assert.equal(select('a.b.example.com/x'), 0);
    assert.equal(select('busybox'), 0);
  });

  it('makes nothing of a damaged configuration', () => assert.deepEqual(parseDockerConfig('{', false), []));
});
