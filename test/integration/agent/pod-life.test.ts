// The life of a pod on the agent's own path, with a runtime and an API server that do as a script says.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Run } from '../../support/fake-runtime.ts';
import { type HarnessOptions, startPodHarness } from '../../support/pod-harness.ts';
import { container, podOf } from '../../unit/agent/fixtures.ts';

function optionsFor(pod: Pod, run: (name: string, attempt: number) => Run = () => ({})): HarnessOptions {
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
      run: (config, attempt) => run(config.metadata?.name ?? '', attempt),
      exec: () => 0,
    },
  };
}

const plain = (name: string, extra = {}) => container(name, { imagePullPolicy: 'IfNotPresent', ...extra });
const changing = (calls: { call: string }[]) => calls.map(({ call }) => call).filter((call) => call !== 'ExecSync');
const statusOf = (pod: Pod | undefined, name: string) =>
  [...(pod?.status?.initContainerStatuses ?? []), ...(pod?.status?.containerStatuses ?? [])].find(
    (item) => item.name === name,
  );

describe('a pod in which one end starts all again', () => {
  const rule = { action: 'RestartAllContainers', exitCodes: { operator: 'In', values: [88] } };
  const pod = podOf({
    restartPolicy: 'Never',
    terminationGracePeriodSeconds: 1,
    initContainers: [plain('init')],
    containers: [plain('main'), plain('watch', { restartPolicy: 'Never', restartPolicyRules: [rule] })],
  });
  const script = (name: string, attempt: number): Run => {
    if (name === 'init') return { exit: { code: 0, reason: 'Completed' } };
    return name === 'watch' && attempt === 0 ? { exit: { code: 88, reason: 'Error', afterMs: 3000 } } : {};
  };

  it('runs its init containers again in the same sandbox, and counts', async () => {
    const harness = await startPodHarness(optionsFor(pod, script));
    await harness.pass(15_000);
    const now = harness.api.current();
    assert.equal(now?.status?.phase, 'Running');
    for (const name of ['init', 'main', 'watch']) assert.equal(statusOf(now, name)?.restartCount, 1, name);
    assert.equal(statusOf(now, 'watch')?.lastState?.terminated?.exitCode, 88);
    assert.equal(harness.fake.calls.filter(({ call }) => call === 'RunPodSandbox').length, 1);
    const told = harness.api.seen.map(({ status }) => JSON.stringify(status));
    assert.ok(told.some((text) => text.includes('RestartAllContainersStarted')));
    assert.ok(told.every((text) => !text.includes('"phase":"Failed"')));
    await harness.close();
  });

  it('goes on with that after the agent was killed half-way', async () => {
    const first = await startPodHarness(optionsFor(pod, script));
    await first.pass(2000);
    await first.close(true);
    // The end came while no agent was there, and the one before it had stopped a container already.
    await first.clock.advance(3000);
    await first.fake.runtime.stopContainer('container-main-0', 1);
    await first.fake.runtime.removeContainer('container-main-0');
    const second = await startPodHarness({ ...optionsFor(pod, script), after: first });
    await second.pass(15_000);
    const now = second.api.current();
    assert.equal(now?.status?.phase, 'Running');
    for (const name of ['init', 'main', 'watch']) assert.equal(statusOf(now, name)?.restartCount, 1, name);
    await second.close();
  });
});

describe('a pod with claims on devices', () => {
  it('does not run without them, and says why', async () => {
    const pod = podOf({ containers: [plain('c')], resourceClaims: [{ name: 'gpu', resourceClaimName: 'gpu' }] });
    const harness = await startPodHarness(optionsFor(pod));
    await harness.pass(3000);
    assert.deepEqual(changing(harness.fake.calls), []);
    assert.ok(harness.events.some(({ reason }) => reason === 'FailedPrepareDynamicResources'));
    await harness.close();
  });
});

describe('sidecars', () => {
  it('stop after the containers, the last first, within one grace period', async () => {
    const side = (name: string) => plain(name, { restartPolicy: 'Always' });
    const pod = podOf({
      terminationGracePeriodSeconds: 30,
      initContainers: [side('first'), side('second')],
      containers: [plain('main')],
    });
    const harness = await startPodHarness(optionsFor(pod));
    await harness.pass(4000);
    await harness.deletePod();
    await harness.pass(4000);
    const stops = harness.fake.calls.filter(({ call }) => call === 'StopContainer').map(({ request }) => request);
    assert.deepEqual(
      stops.map(({ containerId }) => containerId),
      ['container-main-0', 'container-second-0', 'container-first-0'],
    );
    await harness.close();
  });
});
