import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ImageService } from '../../../agent/cri/image-service.ts';
import { createPullImage } from '../../../agent/image/pull-image.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

describe('pulls one at a time', () => {
  it('do not wait for ever for one that hangs', async () => {
    const clock = createFakeClock();
    const begun: string[] = [];
    const hanging = Promise.withResolvers<string>();
    const images = {
      pullImage: async ({ image = '' }) => {
        begun.push(image);
        return image === 'hangs' ? hanging.promise : image;
      },
      imageStatus: async () => undefined,
    } as unknown as ImageService;
    const pull = createPullImage({ images, clock, records: undefined, parallelPulls: 1, mayPull: () => true });
    const pod = podOf({ containers: [container('c')] });
    const { signal } = new AbortController();
    const first = pull(pod, 'hangs', {}, [], signal);
    const second = pull(pod, 'good', {}, [], signal);
    await clock.advance(299_999);
    assert.deepEqual(begun, ['hangs']);
    await clock.advance(1);
    assert.equal((await second).imageRef, 'good');
    hanging.resolve('late');
    assert.equal((await first).imageRef, 'late');
  });
});
