// A node is switched from a kubelet to the agent under its running pods: the runtime holds what the kubelet made (as
// recorded), the API server what it last wrote. Nothing of the pods may change; and the hashes that the agent would
// write are the kubelet's, so that it can be switched back.
import assert from 'node:assert/strict';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { ConfigMap, Container, Pod, PodStatus, Secret } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { ContainerConfig } from '#proto/generated/cri/runtime/v1/ContainerConfig.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import { containerHash } from '../../../agent/container/container-hash.ts';
import { applyDefaults } from '../../../control-plane-lite/registry/defaulting/apply-defaults.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { createFakePodApi } from '../../support/fake-pod-api.ts';
import { createFakeRuntime, type FakeRuntime } from '../../support/fake-runtime.ts';
import { startPodHarness } from '../../support/pod-harness.ts';
import { loadPodRecording, type PodRecording, scrub } from '../../support/pod-recordings.ts';

const uid = '11111111-2222-3333-4444-555555555555';
const startedAt = '2026-01-01T00:00:00Z';
const maps = new Set(['labels', 'annotations', 'sysctls', 'unified']);
const running = [
  'plain',
  'two-containers',
  'burstable',
  'guaranteed',
  'env',
  'volumes',
  'security',
  'shared-pid',
  'hooks',
  'init-and-sidecar',
  'readiness-fails',
];

/** The fields of a recorded request as the runtime's interface names them. */
function camel(value: unknown, field = ''): unknown {
  if (Array.isArray(value)) return value.map((item) => camel(item));
  if (typeof value !== 'object' || value === null) return value;
  if (maps.has(field)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => {
      const name = key.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
      return [name, camel(item, name)];
    }),
  );
}

const filled: [RegExp | string, string][] = [
  ['<uid>', uid],
  [/<container (\w+) (\d+)>/g, 'container-$1-$2'],
  [/<sandbox (\d+)>/g, 'sandbox-$1'],
  ['<podIP>', '127.0.0.1'],
  ['<hostIP>', '192.0.2.2'],
  ['<time>', startedAt],
];

/** The last status with everything running. */
function settledStatus({ status }: PodRecording): PodStatus {
  const alive = status.filter(({ deleting }) => deleting !== true);
  const text = JSON.stringify(alive.at(-1)?.status);
  return JSON.parse(filled.reduce((result, [from, to]) => result.replaceAll(from, to), text));
}

/** Does again what the kubelet did until its containers ran. */
async function replay(recording: PodRecording, fake: FakeRuntime): Promise<void> {
  const { runtime } = fake;
  let sandboxConfig: PodSandboxConfig = {};
  for (const { call, request } of recording.cri) {
    if (call === 'StopContainer' || call === 'StopPodSandbox') break;
    const made = camel(scrub(request, filled)) as Record<string, unknown>;
    if (call === 'RunPodSandbox') {
      sandboxConfig = made['config'] as PodSandboxConfig;
      await runtime.runPodSandbox(sandboxConfig, '');
    } else if (call === 'CreateContainer') {
      await runtime.createContainer('sandbox-0', made['config'] as ContainerConfig, sandboxConfig);
    } else if (call === 'StartContainer') await runtime.startContainer(String(made['containerId']));
  }
  fake.calls.length = 0;
}

const visible = ({ containerStatuses = [], initContainerStatuses = [], conditions = [], phase }: PodStatus) => ({
  phase,
  containers: [...initContainerStatuses, ...containerStatuses].map((item) => [
    item.name,
    item.containerID,
    item.restartCount,
    item.ready,
    item.started,
  ]),
  conditions: conditions
    .filter(({ type }) => type === 'Ready' || type === 'ContainersReady' || type === 'Initialized')
    .map(({ type, status, lastTransitionTime }) => [type, status, lastTransitionTime]),
});

for (const name of running) {
  describe(`the pod ${name} that a kubelet left running`, () => {
    const recording = loadPodRecording(name);

    it('is taken over without a change', async () => {
      const pod: Pod = structuredClone(recording.object);
      pod.metadata = { ...pod.metadata, uid, generation: 1, creationTimestamp: startedAt, resourceVersion: '1' };
      pod.spec.nodeName = 'vm';
      pod.spec.serviceAccountName = 'default';
      applyDefaults(pods, pod);
      pod.status = settledStatus(recording);
      const clock = createFakeClock(Date.parse(startedAt));
      const ends = new Set(['true']);
      const options = {
        images: {},
        pullError: () => 'no such image',
        run: (config: ContainerConfig) =>
          (config.command ?? []).some((part) => ends.has(part)) ? { exit: { code: 0, reason: 'Completed' } } : {},
        exec: () => (name === 'readiness-fails' ? 1 : 0),
      };
      const fake = createFakeRuntime({ clock, ...options });
      await replay(recording, fake);
      await clock.advance(1000);
      const api = createFakePodApi(pod, { changed: () => undefined, deleted: () => undefined });
      const before = visible(pod.status);
      const harness = await startPodHarness({
        pod,
        nodeName: 'vm',
        hostIp: '192.0.2.2',
        memoryBytes: 2 ** 34,
        configMaps: { cm: { data: { k: 'v', k2: 'v2' } } as unknown as ConfigMap },
        secrets: { sec: { data: { k: Buffer.from('s').toString('base64') } } as unknown as Secret },
        services: [],
        runtime: options,
        after: { clock, api, fake, rootDir: mkdtempSync(join(tmpdir(), 'agent-takeover-')) },
      });
      await harness.pass(15_000);
      await harness.close();
      const changes = fake.calls.filter(({ call }) => call !== 'ExecSync').map(({ call }) => call);
      assert.deepEqual(changes, []);
      assert.deepEqual(visible(api.current()?.status ?? {}), before);
    });

    it('has the hashes that the agent computes', () => {
      const all = [...(recording.object.spec.initContainers ?? []), ...recording.object.spec.containers];
      const created = recording.cri.filter(({ call }) => call === 'CreateContainer');
      assert.ok(created.length > 0);
      for (const { request } of created) {
        const { metadata, annotations } = request['config'] as {
          metadata: { name: string };
          annotations: Record<string, string>;
        };
        const container = all.find((item): item is Container => item.name === metadata.name);
        assert.ok(container !== undefined);
        assert.equal(annotations['io.kubernetes.container.hash'], containerHash(container), metadata.name);
      }
    });
  });
}
