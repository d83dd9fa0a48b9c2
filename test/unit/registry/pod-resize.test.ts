import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { reservedRequests } from '#kube/api/pod-resources.ts';
import { validatePodResize } from '../../../control-plane-lite/registry/validation/pod-resize.ts';

const base: Container = {
  name: 'c',
  image: 'image:1',
  terminationMessagePolicy: 'File',
  imagePullPolicy: 'IfNotPresent',
  resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { cpu: '200m', memory: '128Mi' } },
};

function podWith(container: Partial<Container>, extra: Partial<Pod['metadata']> = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'default', ...extra },
    spec: {
      containers: [{ ...base, ...container }],
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      terminationGracePeriodSeconds: 30,
    },
  };
}

const texts = (pod: Pod, previous: Pod) =>
  validatePodResize(pod, previous).map(({ field, message }) => `${field}: ${message}`);

describe('validatePodResize', () => {
  it('allows processors and memory to change', () => {
    const resources = { requests: { cpu: '50m', memory: '32Mi' }, limits: { cpu: '300m', memory: '64Mi' } };
    assert.deepEqual(texts(podWith({ resources }), podWith({})), []);
  });

  it('refuses another quality of service class', () => {
    const amounts = { cpu: '200m', memory: '128Mi' };
    const pod = podWith({ resources: { requests: amounts, limits: amounts } });
    assert.deepEqual(texts(pod, podWith({})), [
      'spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing',
    ]);
  });

  it('refuses to drop requests or limits', () => {
    const resources = { requests: { memory: '64Mi' }, limits: { cpu: '200m' } };
    assert.deepEqual(texts(podWith({ resources }), podWith({})), [
      'spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed',
      'spec.containers[0].resources.requests: Forbidden: resource requests cannot be removed',
    ]);
  });

  it('refuses changes of anything else', () => {
    const resources = { ...base.resources, requests: { ...base.resources?.requests, 'ephemeral-storage': '1Gi' } };
    const expected = ['spec: Forbidden: only cpu and memory resources are mutable'];
    assert.deepEqual(texts(podWith({ resources }), podWith({})), expected);
    assert.deepEqual(texts(podWith({ image: 'image:2' }), podWith({})), expected);
  });

  it('refuses static pods', () => {
    const annotations = { 'kubernetes.io/config.mirror': 'hash' };
    assert.deepEqual(texts(podWith({}, { annotations }), podWith({}, { annotations })), [
      ': Forbidden: static pods cannot be resized',
    ]);
  });
});

describe('reservedRequests', () => {
  function resizing(wanted: string, held: string, reason?: string): Pod {
    const pod = podWith({ resources: { requests: { cpu: wanted } } });
    const status = { name: 'c', image: '', imageID: '', ready: true, restartCount: 0 };
    return {
      ...pod,
      status: {
        containerStatuses: [{ ...status, resources: { requests: { cpu: held } }, allocatedResources: { cpu: held } }],
        conditions: reason === undefined ? [] : [{ type: 'PodResizePending', status: 'True', reason }],
      },
    };
  }
  const table: [string, Pod, number][] = [
    ['counts what a growing pod asks for', resizing('300m', '100m'), 300],
    ['counts what a shrinking pod still has', resizing('100m', '300m'), 300],
    ['counts what waits for others', resizing('300m', '100m', 'Deferred'), 300],
    ['does not count what can never be', resizing('300m', '100m', 'Infeasible'), 100],
  ];
  it('counts what a pod as a whole still has, its overhead once', () => {
    const pod = resizing('100m', '100m');
    const spec = { ...pod.spec, resources: { requests: { cpu: '200m' } }, overhead: { cpu: '10m' } };
    const shrinking = { ...pod, spec, status: { ...pod.status, allocatedResources: { cpu: '510m' } } };
    assert.equal(reservedRequests(shrinking).get('cpu'), 510);
  });

  for (const [name, pod, expected] of table) {
    it(name, () => assert.equal(reservedRequests(pod).get('cpu'), expected));
  }
});
