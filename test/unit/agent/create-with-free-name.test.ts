import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { CriError } from '../../../agent/cri/cri-error.ts';
import { createWithFreeName } from '../../../agent/sync/create-with-free-name.ts';

const reserved = (name: string, id: string) =>
  new CriError(
    'RunPodSandbox',
    'Unknown',
    `failed to reserve sandbox name "${name}": name "${name}" is reserved for "${id}"`,
  );

describe('createWithFreeName', () => {
  it('gives up who holds the name and takes the next number', async () => {
    const givenUp: string[] = [];
    const asked: number[] = [];
    const made = await createWithFreeName(
      3,
      async (attempt) => {
        asked.push(attempt);
        if (attempt < 5) throw reserved(`web_${attempt}`, `id-${attempt}`);
        return `made ${attempt}`;
      },
      async (id) => {
        givenUp.push(id);
        throw new Error('it cannot be removed');
      },
    );
    assert.equal(made, 'made 5');
    assert.deepEqual(asked, [3, 4, 5]);
    assert.deepEqual(givenUp, ['id-3', 'id-4']);
  });

  it('passes other errors on, and does not try for ever', async () => {
    let asked = 0;
    const fail = (error: Error) =>
      createWithFreeName(
        0,
        async () => {
          asked += 1;
          throw error;
        },
        async () => undefined,
      );
    await assert.rejects(fail(new Error('no space left on device')), /no space left/);
    assert.equal(asked, 1);
    await assert.rejects(fail(reserved('web_0', 'x')), /is reserved for "x"/);
    assert.equal(asked, 6);
  });
});
