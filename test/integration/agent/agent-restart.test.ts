// The agent is ended and started again under its pods: nothing of theirs may change by that.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { Run } from '../../support/fake-runtime.ts';
import { type HarnessOptions, startPodHarness } from '../../support/pod-harness.ts';
import { container, podOf } from '../../unit/agent/fixtures.ts';

function optionsFor(
  pod: Pod,
  run: (attempt: number) => Run = () => ({}),
  exec: () => number = () => 0,
): HarnessOptions {
  return {
    pod: { ...pod, status: { phase: 'Pending' } },
    nodeName: 'vm',
    hostIp: '192.0.2.2',
    memoryBytes: 1024 ** 3,
    configMaps: {},
    secrets: {},
    services: [],
    runtime: {
      images: { 'image:1': 'sha256:abc' },
      pullError: () => 'no such image',
      run: (_, attempt) => run(attempt),
      exec,
    },
  };
}

function pod(spec: Partial<Container> = {}, restartPolicy = 'Always'): Pod {
  return podOf({
    containers: [container('c', { imagePullPolicy: 'IfNotPresent', ...spec })],
    restartPolicy,
    terminationGracePeriodSeconds: 1,
  });
}

describe('a restart of the agent', () => {
  it('makes no request that changes anything, and writes nothing to the API server', async () => {
    const options = optionsFor(pod({ readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 } }));
    const first = await startPodHarness(options);
    await first.pass(3000);
    assert.equal(first.api.current()?.status?.phase, 'Running');
    await first.close(true);
    const calls = first.fake.calls.filter(({ call }) => call !== 'ExecSync').length;
    const versions = first.api.seen.length;

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(5000);
    assert.equal(second.fake.calls.filter(({ call }) => call !== 'ExecSync').length, calls);
    assert.equal(second.api.seen.length, versions);
    await second.close();
  });

  it('keeps counting restarts', async () => {
    const options = optionsFor(pod(), (attempt) => ({ exit: { code: 1, reason: 'Error', afterMs: 700 + attempt } }));
    const first = await startPodHarness(options);
    await first.pass(2000);
    await first.close(true);
    const before = first.api.current()?.status?.containerStatuses?.[0]?.restartCount ?? 0;
    assert.ok(before > 0);

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(15_000);
    assert.ok((second.api.current()?.status?.containerStatuses?.[0]?.restartCount ?? 0) > before);
    await second.close();
  });

  it('goes on with a deletion that was under way', async () => {
    const options = optionsFor(pod());
    const first = await startPodHarness(options);
    await first.pass(1000);
    await first.close(true);
    first.api.requestDeletion(first.clock.now());

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(3000);
    assert.equal(second.api.current(), undefined);
    assert.equal(second.fake.calls.at(-1)?.call, 'RemovePodSandbox');
    await second.close();
  });

  it('leaves the status of a pod that had ended as it was', async () => {
    const options = optionsFor(pod({}, 'Never'), () => ({
      exit: { code: 0, reason: 'Completed' },
      terminationMessage: 'bye',
    }));
    const first = await startPodHarness(options);
    await first.pass(2000);
    await first.close(true);
    const before = structuredClone(first.api.current()?.status);
    assert.equal(before?.phase, 'Succeeded');

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(3000);
    assert.deepEqual(second.api.current()?.status, before);
    await second.close();
  });

  it('gives the addresses of sandboxes back that ended with the machine', async () => {
    const options = optionsFor(pod());
    const first = await startPodHarness(options);
    await first.pass(1000);
    await first.close(true);
    const { runtime, calls } = first.fake;
    for (const { id } of await runtime.listContainers()) await runtime.stopContainer(id, 0);
    for (const { id } of await runtime.listPodSandbox()) await runtime.stopPodSandbox(id);
    const before = calls.length;

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(3000);
    const after = second.fake.calls.slice(second.fake.calls === calls ? before : 0).map(({ call }) => call);
    const [stop, run] = [after.indexOf('StopPodSandbox'), after.indexOf('RunPodSandbox')];
    assert.ok(stop >= 0 && stop < run, after.join(' '));
    await second.close();
  });

  it('removes a pod that was deleted meanwhile', async () => {
    const options = optionsFor(pod());
    const first = await startPodHarness(options);
    await first.pass(1000);
    await first.close(true);
    await first.api.client.delete({} as never, { name: 'web' });

    const second = await startPodHarness({ ...options, after: first });
    await second.pass(3000);
    const calls = second.fake.calls.map(({ call }) => call);
    assert.deepEqual(calls.slice(-4), ['StopPodSandbox', 'RemoveContainer', 'StopPodSandbox', 'RemovePodSandbox']);
    await second.close();
  });
});

describe('a pod that is deleted by force', () => {
  it('has only a moment left, whatever its grace period', async () => {
    const options = optionsFor({ ...pod(), spec: { ...pod().spec, terminationGracePeriodSeconds: 600 } });
    const harness = await startPodHarness(options);
    await harness.pass(1000);
    await harness.api.client.delete({} as never, { name: 'web' });
    await harness.pass(3000);
    const stop = harness.fake.calls.find(({ call }) => call === 'StopContainer');
    assert.equal(stop?.request['timeout'], 2);
    assert.equal(harness.fake.calls.at(-1)?.call, 'RemovePodSandbox');
    await harness.close();
  });
});
