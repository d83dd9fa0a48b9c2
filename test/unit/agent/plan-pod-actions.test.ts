import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { PodRuntime } from '../../../agent/runtime-cache/pod-runtime.ts';
import { planPodActions } from '../../../agent/sync/plan-pod-actions.ts';
import type { PlanInputs, PodAction } from '../../../agent/sync/pod-action.ts';
import { container, ended, podOf, run, runtimeOf, sandbox } from './fixtures.ts';

/** An action in one word and its object. */
function brief(action: PodAction): string {
  switch (action.type) {
    case 'killPod':
      return `killPod ${action.reason}`;
    case 'createSandbox':
      return `createSandbox ${action.attempt}`;
    case 'killContainer':
      return `kill ${action.target.name}: ${action.message}`;
    case 'removeContainer':
      return `remove ${action.target.id}`;
    case 'startContainer':
      return `start ${action.kind} ${action.container.name} ${action.restartCount}`;
    case 'resizePod':
      return `resize ${action.updates.map((item) => `${item.container.name} ${item.resource} ${item.direction}`)}`;
    case 'restartAll':
      return `restart all: stop ${action.stop.map(({ id }) => id)}, remove ${action.remove.map(({ id }) => id)}`;
    case 'backOff':
      return `wait ${action.container.name} ${action.delayMs}`;
  }
}

function plan(pod: Pod, observed: PodRuntime, extra: Partial<PlanInputs> = {}): string[] {
  const probes = { liveness: () => 'success' as const, startup: () => 'success' as const };
  return planPodActions({ pod, observed, probes, restartDelay: () => undefined, ...extra }).map(brief);
}

const one = podOf({ containers: [container('c')] });
const sidecar = container('side', { restartPolicy: 'Always' });

describe('planPodActions: sandboxes', () => {
  it('creates a sandbox and starts every container of a new pod', () => {
    const pod = podOf({ containers: [container('a'), container('b')] });
    assert.deepEqual(plan(pod, runtimeOf([], [])), ['createSandbox 0', 'start regular a 0', 'start regular b 0']);
  });

  it('does nothing for a pod that runs as it should', () => {
    assert.deepEqual(plan(one, runtimeOf([run('c')])), []);
  });

  it('replaces a sandbox that is no longer ready, and starts everything again', () => {
    const observed = runtimeOf([run('c', { state: 'exited', exitCode: 137 })], [sandbox({ ready: false })]);
    assert.deepEqual(plan(one, observed), ['killPod SandboxChanged', 'createSandbox 1', 'start regular c 1']);
  });

  it('replaces a sandbox without an address', () => {
    assert.deepEqual(plan(one, runtimeOf([], [sandbox({ ips: [] })]))[1], 'createSandbox 1');
  });

  it('keeps as many ended runs of a container as it is told', () => {
    const runs = [run('c', {}, 3), ended('c', 1, 2), ended('c', 1, 1), ended('c', 1, 0)];
    const removed = (deadKept?: number) =>
      plan(one, runtimeOf(runs), deadKept === undefined ? {} : { deadKept }).filter((text) =>
        text.startsWith('remove'),
      );
    assert.deepEqual(removed(), ['remove c-1', 'remove c-0']);
    assert.deepEqual(removed(2), ['remove c-0']);
    assert.deepEqual(removed(Number.POSITIVE_INFINITY), []);
  });

  it('accepts a sandbox without an address on the host network', () => {
    const pod = podOf({ containers: [container('c')], hostNetwork: true });
    const observed = runtimeOf([run('c')], [sandbox({ ips: [], hostNetwork: true })]);
    assert.deepEqual(plan(pod, observed), []);
  });

  it('makes no new sandbox for a pod that must not restart and has run', () => {
    const pod = podOf({ containers: [container('c')], restartPolicy: 'Never' });
    const observed = runtimeOf([ended('c', 1)], [sandbox({ ready: false })]);
    assert.deepEqual(plan(pod, observed), ['killPod Completed']);
  });

  it('leaves out containers that succeeded when a new sandbox is made under OnFailure', () => {
    const pod = podOf({ containers: [container('a'), container('b')], restartPolicy: 'OnFailure' });
    const observed = runtimeOf([ended('a', 0), ended('b', 1)], [sandbox({ ready: false })]);
    assert.deepEqual(plan(pod, observed), ['killPod SandboxChanged', 'createSandbox 1', 'start regular b 1']);
  });
});

describe('planPodActions: restarts', () => {
  const table: [string, string, number, string[]][] = [
    ['restarts a container that succeeded under Always', 'Always', 0, ['start regular c 1']],
    ['restarts a container that failed under OnFailure', 'OnFailure', 1, ['start regular c 1']],
    ['lets a pod end whose container succeeded under OnFailure', 'OnFailure', 0, ['killPod Completed']],
    ['lets a pod end whose container failed under Never', 'Never', 1, ['killPod Completed']],
  ];
  for (const [name, restartPolicy, exitCode, expected] of table) {
    it(name, () => {
      const pod = podOf({ containers: [container('c')], restartPolicy });
      assert.deepEqual(plan(pod, runtimeOf([ended('c', exitCode)])), expected);
    });
  }

  it('keeps the pod while another container runs', () => {
    const pod = podOf({ containers: [container('a'), container('b')], restartPolicy: 'Never' });
    assert.deepEqual(plan(pod, runtimeOf([ended('a', 1), run('b')])), []);
  });

  it('waits out the backoff of a container', () => {
    const restartDelay = () => ({ untilMs: 12_000, delayMs: 10_000 });
    assert.deepEqual(plan(one, runtimeOf([ended('c', 1)]), { restartDelay }), ['wait c 10000']);
  });

  it('removes all ended runs of a container but the newest', () => {
    const observed = runtimeOf([run('c', {}, 3), ended('c', 1, 2), ended('c', 1, 1), ended('c', 1, 0)]);
    assert.deepEqual(plan(one, observed), ['remove c-1', 'remove c-0']);
  });

  it('removes what was created, never started and replaced', () => {
    const observed = runtimeOf([run('c', {}, 1), run('c', { state: 'created' }, 0)]);
    assert.deepEqual(plan(one, observed), ['remove c-0']);
  });

  it('removes a run that was created and never started, once there is a newer one', () => {
    const observed = runtimeOf([run('c', {}, 1), run('c', { state: 'created' }, 0)]);
    assert.deepEqual(plan(one, observed), ['remove c-0']);
  });

  it('starts a container that was created but never started', () => {
    assert.deepEqual(plan(one, runtimeOf([run('c', { state: 'created' })])), ['start regular c 1']);
  });

  it('follows the restart policy that a container has of its own', () => {
    const pod = podOf({ containers: [container('c', { restartPolicy: 'OnFailure' })], restartPolicy: 'Never' });
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 1)])), ['start regular c 1']);
  });

  it('restarts by a rule for an exit code', () => {
    const restartPolicyRules = [{ action: 'Restart', exitCodes: { operator: 'In', values: [42] } }];
    const pod = podOf({
      containers: [container('c', { restartPolicy: 'Never', restartPolicyRules })],
      restartPolicy: 'Never',
    });
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 42)])), ['start regular c 1']);
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 41)])), ['killPod Completed']);
  });
});

describe('planPodActions: restart rules', () => {
  const withRules = (action: string, operator: string, values: number[]) =>
    container('c', { restartPolicy: 'Never', restartPolicyRules: [{ action, exitCodes: { operator, values } }] });

  it('restarts by a rule for all exit codes but some', () => {
    const pod = podOf({ containers: [withRules('Restart', 'NotIn', [0, 3])], restartPolicy: 'Never' });
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 7)])), ['start regular c 1']);
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 3)])), ['killPod Completed']);
  });

  it('restarts an init container by a rule in a pod that must not restart', () => {
    const pod = podOf({
      containers: [container('main')],
      initContainers: [withRules('Restart', 'In', [42])],
      restartPolicy: 'Never',
    });
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 42)])), ['start init c 1']);
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 1)])), []);
  });

  it('starts the whole pod again when a rule says so: everything goes, what asked for it last', () => {
    const pod = podOf({
      containers: [withRules('RestartAllContainers', 'In', [88]), container('main')],
      initContainers: [container('i1'), sidecar],
      restartPolicy: 'Never',
    });
    const observed = runtimeOf([ended('c', 88), run('main'), run('side'), ended('i1', 0)]);
    const stop = 'main-0,side-0';
    assert.deepEqual(plan(pod, observed), [`restart all: stop ${stop}, remove main-0,side-0,i1-0,c-0`]);
    assert.deepEqual(plan(pod, runtimeOf([])), ['start init i1 0']);
  });

  it('does not start a pod again that is being deleted', () => {
    const pod = podOf(
      { containers: [withRules('RestartAllContainers', 'In', [88])], restartPolicy: 'Never' },
      { deletionTimestamp: '2026-01-01T00:00:00Z' },
    );
    assert.deepEqual(plan(pod, runtimeOf([ended('c', 88)])), ['killPod Completed']);
  });

  it('makes a new sandbox where a container of a pod that must not restart may do so', () => {
    const pod = podOf({ containers: [withRules('Restart', 'In', [137])], restartPolicy: 'Never' });
    const observed = runtimeOf([ended('c', 137)], [sandbox({ ready: false })]);
    assert.deepEqual(plan(pod, observed), ['killPod SandboxChanged', 'createSandbox 1', 'start regular c 1']);
  });

  it('kills a container in an unknown state before it starts it again', () => {
    const expected = ['kill c: Container is in "unknown" state, try killing it before restart', 'start regular c 1'];
    assert.deepEqual(plan(one, runtimeOf([run('c', { state: 'unknown' })])), expected);
  });
});

describe('planPodActions: verdicts on running containers', () => {
  it('replaces a container whose definition changed', () => {
    const pod = podOf({ containers: [container('c', { image: 'image:2' })] });
    const expected = ['kill c: Container c definition changed, will be restarted', 'start regular c 1'];
    assert.deepEqual(plan(pod, runtimeOf([run('c')])), expected);
  });

  it('kills and restarts a container that failed its liveness probe', () => {
    const pod = podOf({ containers: [container('c', { livenessProbe: {} })] });
    const probes = { liveness: () => 'failure' as const, startup: () => 'success' as const };
    const expected = ['kill c: Container c failed liveness probe, will be restarted', 'start regular c 1'];
    assert.deepEqual(plan(pod, runtimeOf([run('c')]), { probes }), expected);
  });

  it('only kills it where the pod must not restart', () => {
    const pod = podOf({ containers: [container('c', { livenessProbe: {} })], restartPolicy: 'Never' });
    const probes = { liveness: () => 'failure' as const, startup: () => 'success' as const };
    assert.deepEqual(plan(pod, runtimeOf([run('c')]), { probes }), ['kill c: Container c failed liveness probe']);
  });

  it('uses the grace period that the probe sets', () => {
    const livenessProbe = { terminationGracePeriodSeconds: 3 };
    const pod = podOf({ containers: [container('c', { livenessProbe })] });
    const probes = { liveness: () => 'failure' as const, startup: () => 'success' as const };
    const [kill] = planPodActions({ pod, observed: runtimeOf([run('c')]), probes, restartDelay: () => undefined });
    assert.equal(kill?.type === 'killContainer' ? kill.gracePeriodSeconds : undefined, 3);
  });

  it('judges by the startup probe until it has succeeded', () => {
    const pod = podOf({ containers: [container('c', { startupProbe: {} })] });
    const probes = { liveness: () => 'success' as const, startup: () => 'failure' as const };
    assert.equal(
      plan(pod, runtimeOf([run('c')]), { probes })[0],
      'kill c: Container c failed startup probe, will be restarted',
    );
  });
});

describe('planPodActions: init containers and sidecars', () => {
  const pod = podOf({ containers: [container('c')], initContainers: [container('i1'), sidecar, container('i2')] });

  it('starts with the first init container', () => {
    assert.deepEqual(plan(pod, runtimeOf([], [])), ['createSandbox 0', 'start init i1 0']);
  });

  it('waits for an init container that runs', () => {
    assert.deepEqual(plan(pod, runtimeOf([run('i1')])), []);
  });

  it('starts the sidecar after the init container before it', () => {
    assert.deepEqual(plan(pod, runtimeOf([ended('i1', 0)])), ['start init side 0']);
  });

  it('goes on when the sidecar runs', () => {
    assert.deepEqual(plan(pod, runtimeOf([run('side'), ended('i1', 0)])), ['start init i2 0']);
  });

  it('waits for the startup probe of a sidecar', () => {
    const started = podOf({ containers: [container('c')], initContainers: [{ ...sidecar, startupProbe: {} }] });
    const probes = { liveness: () => 'unknown' as const, startup: () => 'unknown' as const };
    assert.deepEqual(plan(started, runtimeOf([run('side')]), { probes }), []);
  });

  it('starts the containers when all init containers have succeeded', () => {
    assert.deepEqual(plan(pod, runtimeOf([ended('i2', 0), run('side'), ended('i1', 0)])), ['start regular c 0']);
  });

  it('restarts an init container that failed', () => {
    assert.deepEqual(plan(pod, runtimeOf([ended('i1', 1)])), ['start init i1 1']);
  });

  it('starts nothing more after an init container failed in a pod that must not restart', () => {
    const never = podOf({ containers: [container('c')], initContainers: [container('i1')], restartPolicy: 'Never' });
    assert.deepEqual(plan(never, runtimeOf([ended('i1', 1)])), []);
  });

  it('goes on without a sidecar that had started and waits to be started again', () => {
    const restartDelay = () => ({ untilMs: 12_000, delayMs: 10_000 });
    const crashed = [ended('side', 1), ended('i1', 0)];
    assert.deepEqual(plan(pod, runtimeOf([run('i2'), ...crashed]), { restartDelay }), ['wait side 10000']);
    const expected = ['wait side 10000', 'start regular c 0'];
    assert.deepEqual(plan(pod, runtimeOf([ended('i2', 0), ...crashed]), { restartDelay }), expected);
    assert.deepEqual(plan(pod, runtimeOf(crashed), { restartDelay }), ['wait side 10000'], 'nothing followed it yet');
  });

  it('restarts a sidecar beside a running container, without touching it', () => {
    const observed = runtimeOf([run('c'), ended('i2', 0), ended('side', 1), ended('i1', 0)]);
    assert.deepEqual(plan(pod, observed), ['start init side 1']);
  });

  it('does not run init containers again when only a container restarts', () => {
    const observed = runtimeOf([ended('c', 1), run('side')]);
    assert.deepEqual(plan(pod, observed), ['start regular c 1']);
  });

  it('runs init containers again in a new sandbox', () => {
    const observed = runtimeOf(
      [run('c', { state: 'exited', sandboxId: 'old' }), run('i1', { state: 'exited', sandboxId: 'old' })],
      [sandbox({ ready: false, id: 'old' })],
    );
    assert.deepEqual(plan(pod, observed), ['killPod SandboxChanged', 'createSandbox 1', 'start init i1 1']);
  });
});

describe('planPodActions: ephemeral containers', () => {
  it('starts an ephemeral container once', () => {
    const pod = podOf({ containers: [container('c')], ephemeralContainers: [{ name: 'debug', image: 'image:1' }] });
    assert.deepEqual(plan(pod, runtimeOf([run('c')])), ['start ephemeral debug 0']);
    assert.deepEqual(plan(pod, runtimeOf([run('c'), ended('debug', 0)])), []);
  });
});
