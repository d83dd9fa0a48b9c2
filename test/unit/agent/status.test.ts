import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ContainerStatus, PodStatus } from '#kube/api/generated/core-v1.ts';
import { computePhase } from '../../../agent/status/compute-phase.ts';
import { computePodStatus, endPodStatus } from '../../../agent/status/compute-pod-status.ts';
import { mergePodStatus } from '../../../agent/status/merge-pod-status.ts';
import { planStatusPatch } from '../../../agent/status/plan-status-patch.ts';
import { container, ended, podOf, run, runtimeOf } from './fixtures.ts';

function status(name: string, state: ContainerStatus['state'], extra: Partial<ContainerStatus> = {}): ContainerStatus {
  return { name, state, image: '', imageID: '', ready: false, restartCount: 0, lastState: {}, ...extra };
}

const running = { running: {} };
const waiting = { waiting: {} };
const exited = (exitCode: number) => ({ terminated: { exitCode } });

describe('computePhase', () => {
  const table: [string, string, ContainerStatus[], boolean, string][] = [
    [
      'is Pending while a container waits to start',
      'Always',
      [status('a', running), status('b', waiting)],
      false,
      'Pending',
    ],
    ['is Running while one container runs', 'Never', [status('a', running), status('b', exited(1))], false, 'Running'],
    ['stays Running between restarts', 'Always', [status('a', exited(1)), status('b', exited(0))], false, 'Running'],
    [
      'is Succeeded when all succeeded',
      'OnFailure',
      [status('a', exited(0)), status('b', exited(0))],
      false,
      'Succeeded',
    ],
    [
      'is Failed when one failed and none restarts',
      'Never',
      [status('a', exited(0)), status('b', exited(1))],
      false,
      'Failed',
    ],
    [
      'is Running when a failed one restarts',
      'OnFailure',
      [status('a', exited(0)), status('b', exited(1))],
      false,
      'Running',
    ],
    [
      'is Failed for a failed one when the pod has to end',
      'Always',
      [status('a', exited(137)), status('b', exited(0))],
      true,
      'Failed',
    ],
    [
      'is Succeeded for all when the pod has to end',
      'Always',
      [status('a', exited(0)), status('b', exited(0))],
      true,
      'Succeeded',
    ],
  ];
  for (const [name, restartPolicy, statuses, terminal, expected] of table) {
    it(name, () => {
      const pod = podOf({ containers: [container('a'), container('b')], restartPolicy });
      assert.equal(computePhase(pod, [], statuses, terminal), expected);
    });
  }

  it('is Failed when an init container failed in a pod that must not restart', () => {
    const pod = podOf({ containers: [container('a')], initContainers: [container('i')], restartPolicy: 'Never' });
    assert.equal(computePhase(pod, [status('i', exited(1))], [status('a', waiting)], false), 'Failed');
  });

  it('is Pending while a sidecar has not started', () => {
    const pod = podOf({ containers: [container('a')], initContainers: [container('i', { restartPolicy: 'Always' })] });
    assert.equal(
      computePhase(pod, [status('i', running, { started: false })], [status('a', waiting)], false),
      'Pending',
    );
  });
});

function compute(extra: Partial<Parameters<typeof computePodStatus>[0]> = {}): PodStatus {
  const pod = podOf({ containers: [container('c')] });
  return computePodStatus({
    pod,
    observed: runtimeOf([run('c')]),
    waiting: new Map(),
    before: () => undefined,
    isReady: () => true,
    isStarted: () => true,
    runtimeName: 'containerd',
    hostIps: ['192.0.2.2'],
    terminal: false,
    ...extra,
  });
}

describe('computePodStatus', () => {
  it('counts no resources of ephemeral containers, whatever stands there', () => {
    const ephemeral = { name: 'debug', resources: { limits: { cpu: 'none' } } };
    const resources = { requests: { cpu: '100m' } };
    const pod = podOf({ containers: [container('c', { resources })], ephemeralContainers: [ephemeral] });
    assert.deepEqual(compute({ pod }).allocatedResources, { cpu: '100m' });
  });

  it('keeps the last word of a run that the runtime forgot, and counts one that was lost', () => {
    const ended = { exitCode: 3, reason: 'Error' };
    const base = { name: 'c', image: 'image:1', imageID: '', ready: false, restartCount: 2, lastState: {} };
    const pod = podOf({ containers: [container('c')], restartPolicy: 'Never' });
    const told = compute({ pod, observed: runtimeOf([]), before: () => ({ ...base, state: { terminated: ended } }) });
    assert.deepEqual(told.containerStatuses?.[0]?.state?.terminated, ended);
    const running = { ...base, state: { running: { startedAt: '2026-01-01T00:00:00Z' } } };
    const lost = compute({ observed: runtimeOf([]), before: () => running }).containerStatuses?.[0];
    assert.equal(lost?.restartCount, 3);
    assert.equal(lost?.lastState?.terminated?.reason, 'ContainerStatusUnknown');
  });

  it('is ready when every container is', () => {
    const { conditions, phase, podIP } = compute();
    assert.equal(phase, 'Running');
    assert.equal(podIP, '10.1.0.5');
    assert.ok(conditions?.every((condition) => condition.status === 'True'));
  });

  it('names the containers that are not ready', () => {
    const ready = compute({ isReady: () => false }).conditions?.find(({ type }) => type === 'Ready');
    assert.equal(ready?.reason, 'ContainersNotReady');
    assert.equal(ready?.message, 'containers with unready status: [c]');
  });

  it('shows a failed container that waits as waiting, with its end as last state', () => {
    const why = new Map([['c', { reason: 'CrashLoopBackOff', message: 'back-off 10s' }]]);
    const [first] = compute({ observed: runtimeOf([ended('c', 1)]), waiting: why }).containerStatuses ?? [];
    assert.equal(first?.state?.waiting?.reason, 'CrashLoopBackOff');
    assert.equal(first?.lastState?.terminated?.exitCode, 1);
  });

  it('remembers how the last run ended when the runtime has forgotten it', () => {
    const lastState = { terminated: { exitCode: 7 } };
    const [first] = compute({ before: (name) => status(name, running, { lastState }) }).containerStatuses ?? [];
    assert.deepEqual(first?.lastState, lastState);
  });

  it('waits for readiness gates that others set', () => {
    const pod = podOf({ containers: [container('c')], readinessGates: [{ conditionType: 'example.com/ok' }] });
    const before = compute({ pod }).conditions?.find(({ type }) => type === 'Ready');
    assert.equal(before?.reason, 'ReadinessGatesNotReady');
    pod.status = { conditions: [{ type: 'example.com/ok', status: 'True' }] };
    assert.equal(compute({ pod }).conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
  });

  it('keeps the addresses of a pod whose sandbox has stopped', () => {
    const pod = podOf({ containers: [container('c')] });
    pod.status = { podIP: '10.1.0.5', podIPs: [{ ip: '10.1.0.5' }] };
    assert.equal(compute({ pod, observed: runtimeOf([], []) }).podIP, '10.1.0.5');
  });

  it('adds up requests and limits of the whole pod', () => {
    const resources = { requests: { cpu: '100m', memory: '32Mi' }, limits: { cpu: '1', memory: '64Mi' } };
    const pod = podOf({ containers: [container('a', { resources }), container('b', { resources })] });
    const computed = compute({ pod, observed: runtimeOf([run('a'), run('b')]) });
    assert.deepEqual(computed.resources, {
      limits: { cpu: '2', memory: '128Mi' },
      requests: { cpu: '200m', memory: '64Mi' },
    });
    assert.deepEqual(computed.allocatedResources, { cpu: '200m', memory: '64Mi' });
  });
});

describe('endPodStatus', () => {
  it('says of a container that never ran that it could not be located', () => {
    const pod = podOf({ containers: [container('c')] });
    const final = endPodStatus(pod, compute({ pod, observed: runtimeOf([], []), terminal: true }));
    assert.equal(final.phase, 'Failed');
    assert.equal(final.containerStatuses?.[0]?.state?.terminated?.reason, 'ContainerStatusUnknown');
  });
});

describe('endPodStatus of a pod with init containers', () => {
  const pod = podOf({ containers: [container('c')], initContainers: [container('i'), container('j')] });
  const waiting = { waiting: { reason: 'PodInitializing' } };
  const blank = { image: '', imageID: '', ready: false, restartCount: 0 };
  const endWith = (exitCode: number) =>
    endPodStatus(pod, {
      phase: 'Failed',
      initContainerStatuses: [
        { ...blank, name: 'i', state: { terminated: { exitCode } } },
        { ...blank, name: 'j', state: exitCode === 0 ? { terminated: { exitCode } } : waiting },
      ],
      containerStatuses: [{ ...blank, name: 'c', state: waiting }],
    });

  it('leaves containers waiting whose turn never came', () => {
    const { initContainerStatuses = [], containerStatuses = [] } = endWith(1);
    assert.deepEqual(
      [...initContainerStatuses, ...containerStatuses].map(({ state }) => state),
      [{ terminated: { exitCode: 1 } }, waiting, waiting],
    );
  });

  it('misses the containers of a pod that was initialized', () => {
    assert.equal(endWith(0).containerStatuses?.[0]?.state?.terminated?.reason, 'ContainerStatusUnknown');
  });
});

describe('mergePodStatus', () => {
  const before: PodStatus = {
    phase: 'Running',
    startTime: '2026-01-01T00:00:00Z',
    conditions: [
      { type: 'Ready', status: 'True', lastTransitionTime: '2026-01-01T00:00:01Z' },
      { type: 'DisruptionTarget', status: 'True', lastTransitionTime: '2026-01-01T00:00:02Z' },
    ],
  };
  const options = { mayRun: false, nowMs: Date.parse('2026-01-01T01:00:00Z') };

  it('moves a transition time only with its status', () => {
    const same = mergePodStatus(before, { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }, options);
    assert.equal(same.conditions?.[0]?.lastTransitionTime, '2026-01-01T00:00:01Z');
    const other = mergePodStatus(
      before,
      { phase: 'Running', conditions: [{ type: 'Ready', status: 'False' }] },
      options,
    );
    assert.equal(other.conditions?.[0]?.lastTransitionTime, '2026-01-01T01:00:00Z');
  });

  it('keeps the conditions that others own, and the start time', () => {
    const merged = mergePodStatus(before, { phase: 'Running', conditions: [] }, options);
    assert.deepEqual(
      merged.conditions?.map(({ type }) => type),
      ['DisruptionTarget'],
    );
    assert.equal(merged.startTime, '2026-01-01T00:00:00Z');
  });

  it('does not call a pod ended while it may have running containers', () => {
    assert.equal(mergePodStatus(before, { phase: 'Failed' }, { ...options, mayRun: true }).phase, 'Running');
    assert.equal(mergePodStatus(before, { phase: 'Failed' }, options).phase, 'Failed');
  });

  it('never takes a pod back from a phase that is final', () => {
    assert.equal(mergePodStatus({ phase: 'Succeeded' }, { phase: 'Running' }, options).phase, 'Succeeded');
  });
});

describe('planStatusPatch', () => {
  it('is empty when nothing differs but absent and null fields', () => {
    const current = { phase: 'Running', conditions: [{ type: 'Ready', status: 'True', lastProbeTime: null as never }] };
    assert.equal(
      planStatusPatch('u', current, { phase: 'Running', conditions: [{ type: 'Ready', status: 'True' }] }),
      undefined,
    );
  });

  it('sends only the conditions that changed, and the order of all', () => {
    const current = {
      conditions: [
        { type: 'Ready', status: 'False', reason: 'Old' },
        { type: 'Initialized', status: 'True' },
      ],
    };
    const wanted = {
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'Initialized', status: 'True' },
      ],
    };
    assert.deepEqual(planStatusPatch('u', current, wanted), {
      metadata: { uid: 'u' },
      status: {
        conditions: [{ type: 'Ready', status: 'True', reason: null }],
        '$setElementOrder/conditions': [{ type: 'Ready' }, { type: 'Initialized' }],
      },
    });
  });

  it('removes an address that is gone', () => {
    const patch = planStatusPatch('u', { podIPs: [{ ip: '10.0.0.1' }] }, { podIPs: [{ ip: '10.0.0.2' }] });
    assert.deepEqual(patch?.status['podIPs'], [{ ip: '10.0.0.2' }, { $patch: 'delete', ip: '10.0.0.1' }]);
  });

  it('leaves a condition alone that somebody else added meanwhile', () => {
    const current = {
      conditions: [
        { type: 'Ready', status: 'True' },
        { type: 'example.com/gate', status: 'True' },
      ],
    };
    assert.equal(planStatusPatch('u', current, { conditions: [{ type: 'Ready', status: 'True' }] }), undefined);
  });

  it('leaves fields of others alone', () => {
    assert.equal(planStatusPatch('u', { nominatedNodeName: 'n' }, {}), undefined);
  });
});
