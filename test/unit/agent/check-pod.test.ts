import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { problemOfPod, stripPod } from '../../../agent/pod-source/check-pod.ts';
import { container, podOf } from './fixtures.ts';

const bad = { cpu: 'lots' };

describe('problemOfPod', () => {
  const table: [string, Pod, RegExp][] = [
    [
      'a request',
      podOf({ containers: [container('c', { resources: { requests: bad } })] }),
      /^spec.containers\[0\].resources.requests\[cpu\]: /,
    ],
    [
      'an init limit',
      podOf({ containers: [container('c')], initContainers: [container('i', { resources: { limits: bad } })] }),
      /^spec.initContainers\[0\].resources.limits\[cpu\]: /,
    ],
    [
      'the whole pod',
      podOf({ containers: [container('c')], resources: { limits: bad } }),
      /^spec.resources.limits\[cpu\]: /,
    ],
    ['the overhead', podOf({ containers: [container('c')], overhead: bad }), /^spec.overhead\[cpu\]: /],
    [
      'a size',
      podOf({ containers: [container('c')], volumes: [{ name: 'v', emptyDir: { sizeLimit: 'x' } }] }),
      /^spec.volumes\[0\].emptyDir\[sizeLimit\]: /,
    ],
    [
      'a container that climbs',
      podOf({ containers: [container('../c')] }),
      /^spec.containers\[0\].name: "..\/c" is not a valid name/,
    ],
    [
      'a volume that climbs',
      podOf({ containers: [container('c')], volumes: [{ name: '..', emptyDir: {} }] }),
      /^spec.volumes\[0\].name: ".." is not a valid name/,
    ],
    ['a uid', podOf({ containers: [container('c')] }, { uid: '../..' }), /^metadata: /],
    [
      'a name',
      podOf({ containers: [container('c')], initContainers: [container('c')] }),
      /several containers with the name "c"/,
    ],
  ];
  for (const [name, pod, expected] of table) {
    it(`names ${name} that it cannot work with`, () => assert.match(problemOfPod(pod) ?? '', expected));
  }

  it('has nothing against an ordinary pod', () => {
    const resources = { requests: { cpu: '100m', memory: '1Gi' }, limits: { cpu: '1' } };
    assert.equal(
      problemOfPod(podOf({ containers: [container('c', { resources })], overhead: { cpu: '1m' } })),
      undefined,
    );
  });

  it('leaves enough of a pod to end it', () => {
    const { spec, metadata } = stripPod(podOf({ containers: [container('c')], terminationGracePeriodSeconds: 3 }));
    assert.deepEqual(spec, { containers: [], terminationGracePeriodSeconds: 3 });
    assert.equal(metadata.uid, 'uid-1');
  });
});
