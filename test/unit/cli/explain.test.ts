import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parsePodName } from '../../../cli/explain/find-pod.ts';
import { renderExplanation } from '../../../cli/explain/render-explanation.ts';

describe('parsePodName', () => {
  it('takes a namespace and a name, or a name alone', () => {
    assert.deepEqual(parsePodName('shop/web'), { namespace: 'shop', name: 'web' });
    assert.deepEqual(parsePodName('web'), { namespace: 'default', name: 'web' });
    assert.deepEqual(parsePodName('pod/web'), { namespace: 'default', name: 'web' });
  });

  it('refuses what is no name', () => {
    for (const text of ['', 'a/b/c', 'shop/', '/web']) assert.throws(() => parsePodName(text), /write NAMESPACE\/NAME/);
  });
});

describe('renderExplanation', () => {
  const pod = { namespace: 'shop', name: 'web', uid: 'u', phase: 'Pending' };

  it('shows the step, how long it lasts, what failed and when it is tried again', () => {
    const text = renderExplanation(
      {
        ...pod,
        step: 'pull',
        container: 'c',
        message: 'pulling image slow:1',
        ageSeconds: 150,
        attempts: 2,
        lastError: 'connection refused',
        nextRetry: '2026-01-01T00:00:08Z',
        bytes: { done: 1024 ** 2, total: 4 * 1024 ** 2 },
      },
      'node-a',
      Date.parse('2026-01-01T00:00:00Z'),
    );
    assert.deepEqual(text.split('\n'), [
      'pod shop/web, Pending, on node node-a',
      'blocked by  pull, of container c',
      '            pulling image slow:1',
      'for         2m30s',
      'attempts    2',
      'last error  connection refused',
      'next retry  in 8s',
      'pulled      1.0 MiB of 4.0 MiB',
      '',
    ]);
  });

  it('says that nothing blocks a pod that is ready', () => {
    const text = renderExplanation({ ...pod, step: 'none', message: 'the pod is ready' }, 'node-a', 0);
    assert.match(text, /blocked by {2}nothing: the pod is ready/);
  });
});
