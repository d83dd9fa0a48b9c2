import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { hasLocalStorageLimit, planLocalStorageEviction } from '../../../agent/eviction/plan-local-storage-eviction.ts';
import { container, podOf } from './fixtures.ts';

const limited = (name: string, limit: string) =>
  container(name, { resources: { limits: { 'ephemeral-storage': limit } } });
const mega = 1024 * 1024;

describe('planLocalStorageEviction', () => {
  const volumes = [
    { name: 'small', emptyDir: { sizeLimit: '1Mi' } },
    { name: 'free', emptyDir: {} },
    { name: 'memory', emptyDir: { medium: 'Memory' } },
  ];
  const cases: [string, Pod, Record<string, number>, Record<string, number>, string | undefined][] = [
    [
      'lets a pod within its limits stay',
      podOf({ containers: [limited('c', '4Mi')], volumes }),
      { small: mega },
      { c: mega },
      undefined,
    ],
    [
      'names the volume that is too large',
      podOf({ containers: [container('c')], volumes }),
      { small: mega + 1 },
      {},
      'Usage of EmptyDir volume "small" exceeds the limit "1Mi". ',
    ],
    [
      'counts volumes on disk, writes and logs together',
      podOf({ containers: [limited('c', '4Mi')], volumes }),
      { free: 2 * mega },
      { c: 2 * mega + 1 },
      'Pod ephemeral local storage usage exceeds the total limit of containers 4Mi. ',
    ],
    [
      'sums the limits of containers',
      podOf({ containers: [limited('a', '1Mi'), limited('b', '2Mi')], volumes }),
      { free: 4 * mega },
      {},
      'Pod ephemeral local storage usage exceeds the total limit of containers 3Mi. ',
    ],
    [
      'does not count memory',
      podOf({ containers: [limited('c', '1Mi')], volumes }),
      { memory: 9 * mega },
      {},
      undefined,
    ],
    [
      'names the container that wrote too much',
      podOf({ containers: [limited('a', '1Mi'), limited('b', '9Mi')], volumes }),
      {},
      { a: mega + 1 },
      'Container a exceeded its local ephemeral storage limit "1Mi". ',
    ],
  ];
  for (const [what, pod, inVolumes, inContainers, expected] of cases) {
    it(what, () => {
      const use = { volumes: new Map(Object.entries(inVolumes)), containers: new Map(Object.entries(inContainers)) };
      assert.equal(planLocalStorageEviction(pod, use), expected);
    });
  }

  it('measures only pods that have limits', () => {
    assert.equal(hasLocalStorageLimit(podOf({ containers: [container('c')] })), false);
    assert.equal(hasLocalStorageLimit(podOf({ containers: [limited('c', '1Mi')] })), true);
    assert.equal(hasLocalStorageLimit(podOf({ containers: [container('c')], volumes })), true);
  });
});
