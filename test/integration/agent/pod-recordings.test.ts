// Pods recorded on a kubelet, run again on the agent's own path: the same requests to the runtime, the same statuses
// on the API server, the same events.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ConfigMap, Pod, Secret, Service } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { computeQosClass } from '#kube/api/pod-qos.ts';
import { containerFieldPath } from '../../../agent/container/pod-containers.ts';
import { applyDefaults } from '../../../control-plane-lite/registry/defaulting/apply-defaults.ts';
import type { Run } from '../../support/fake-runtime.ts';
import { startPodHarness } from '../../support/pod-harness.ts';
import { comparableCalls, comparableStatuses, loadPodRecording, scrub } from '../../support/pod-recordings.ts';

const busybox = 'sha256:89d9812e19755a3d0612a6912e199e8c08972bbc6a8b9cba6f88230542b30a9f';
const pause = 'sha256:f8738510c71189b93732c158a83eead13f24fca80d7edac11299c158ab4d58d6';
const uid = '11111111-2222-3333-4444-555555555555';
const memoryBytes = 24684092 * 1024;

const kubernetesService = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'kubernetes', namespace: 'default' },
  spec: { clusterIP: '10.96.0.1', ports: [{ name: 'https', port: 443, protocol: 'TCP' }] },
} as Service;

const configMaps = { cm: { data: { k: 'v', k2: 'v2' } } as unknown as ConfigMap };
const secrets = { sec: { data: { k: Buffer.from('s').toString('base64') } } as unknown as Secret };

interface Scenario {
  pod: string;
  /** How the containers behaved then. */
  run?: (command: string[], attempt: number) => Run;
  exec?: (command: string[]) => number;
  /** How long the pod is left alone before it is deleted. */
  aliveMs: number;
  /** The pod was deleted before what happened last could be told. */
  lastUnseen?: boolean;
  /** Statuses that followed one another quickly were told together. */
  joined?: boolean;
}

const forever: Run = { stopCode: 137 };
const scenarios: Scenario[] = [
  { pod: 'plain', aliveMs: 2000 },
  { pod: 'two-containers', aliveMs: 2000 },
  { pod: 'burstable', aliveMs: 2000 },
  { pod: 'guaranteed', aliveMs: 2000 },
  { pod: 'env', aliveMs: 2000 },
  { pod: 'volumes', aliveMs: 2000 },
  { pod: 'token', aliveMs: 2000 },
  { pod: 'security', aliveMs: 2000 },
  // Its process is not the first of its namespace, so the signal ends it.
  { pod: 'shared-pid', aliveMs: 2000, run: () => ({ stopCode: 143 }) },
  { pod: 'sandbox-runtime-class', aliveMs: 2000 },
  { pod: 'hooks', aliveMs: 2000 },
  {
    pod: 'succeeds',
    aliveMs: 2000,
    run: () => ({ exit: { code: 0, reason: 'Completed' }, terminationMessage: 'done\n' }),
  },
  { pod: 'fails', aliveMs: 2000, run: () => ({ exit: { code: 3, reason: 'Error' }, output: 'bad\n' }) },
  { pod: 'oom', aliveMs: 2000, run: () => ({ exit: { code: 137, reason: 'OOMKilled' } }) },
  {
    pod: 'bad-command',
    aliveMs: 2000,
    run: () => ({ startError: loadPodRecording('bad-command').cri[2]?.error ?? '' }),
  },
  {
    pod: 'crash-loops',
    aliveMs: 40_000,
    lastUnseen: true,
    // The first two runs ended before anyone looked.
    run: (_, attempt) => ({ exit: { code: 1, reason: 'Error', ...(attempt < 2 ? {} : { afterMs: 400 }) } }),
  },
  {
    pod: 'init-and-sidecar',
    aliveMs: 5000,
    joined: true,
    run: (command) => (command.includes('true') ? { exit: { code: 0, reason: 'Completed' } } : forever),
  },
  { pod: 'liveness-fails', aliveMs: 25_000, exec: () => 1 },
  { pod: 'readiness-fails', aliveMs: 3000 },
  { pod: 'image-missing', aliveMs: 30_000, lastUnseen: true },
  { pod: 'configmap-missing', aliveMs: 2000 },
  { pod: 'volume-missing', aliveMs: 3000 },
];

/** What the API server and its admission make of the object. */
function admitted(object: Pod): Pod {
  const pod = structuredClone(object);
  pod.metadata = {
    ...pod.metadata,
    uid,
    generation: 1,
    creationTimestamp: '2026-01-01T00:00:00Z',
    resourceVersion: '1',
  };
  pod.spec.nodeName = 'vm';
  pod.spec.serviceAccountName = 'default';
  applyDefaults(pods, pod);
  if (pod.spec.automountServiceAccountToken !== false) {
    const name = 'kube-api-access-abcde';
    pod.spec.volumes = [
      {
        name,
        projected: { defaultMode: 420, sources: [{ serviceAccountToken: { expirationSeconds: 3607, path: 'token' } }] },
      },
    ];
    for (const container of pod.spec.containers) {
      container.volumeMounts = [{ name, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount', readOnly: true }];
    }
  }
  pod.status = { phase: 'Pending', qosClass: computeQosClass(pod) };
  return pod;
}

/** The entries of `wanted` that `made` has too, in their order, provided that the ends are among them. */
function keepCommon(wanted: unknown[], made: unknown[]): unknown[] {
  const texts = new Set(made.map((entry) => JSON.stringify(entry)));
  const last = wanted.length - 1;
  return wanted.filter((entry, index) => index === 0 || index === last || texts.has(JSON.stringify(entry)));
}

for (const scenario of scenarios) {
  describe(`the recorded pod ${scenario.pod}`, async () => {
    const recording = loadPodRecording(scenario.pod);
    const pod = admitted(recording.object);
    const harness = await startPodHarness({
      pod,
      nodeName: 'vm',
      hostIp: '192.0.2.2',
      memoryBytes,
      configMaps,
      secrets,
      services: [kubernetesService],
      runtime: {
        images: {
          'registry.k8s.io/pause:3.6': pause,
          'registry.k8s.io/e2e-test-images/busybox:1.37.0-1': busybox,
        },
        pullError: () => recording.cri.find(({ call }) => call === 'PullImage')?.error ?? 'no such image',
        run: (config, attempt) => {
          const own = config.image?.image === pause ? { stopCode: 0 } : forever;
          return scenario.run?.(config.command ?? [], attempt) ?? own;
        },
        exec: scenario.exec ?? (() => 0),
      },
    });
    await harness.pass(scenario.aliveMs);
    const eventsBefore = [...harness.events];
    await harness.deletePod();
    await harness.pass(10_000);
    await harness.close();

    const rules: [RegExp | string, string][] = [
      [`${harness.rootDir}/logs`, '/var/log/pods'],
      [harness.rootDir, '<root-dir>'],
      [uid, '<uid>'],
      [/kube-api-access-[a-z0-9]{5}/g, 'kube-api-access-<rand>'],
      [/(containers\/[a-z0-9]+\/)[0-9a-f]{8}/g, '$1<rand>'],
      [/container-([a-z0-9]+)-(\d+)/g, '<container $1 $2>'],
      [/^sandbox-(\d+)$/g, '<sandbox $1>'],
      ['127.0.0.1', '<podIP>'],
      ['192.0.2.2', '<hostIP>'],
    ];

    it('makes the recorded requests to the runtime', () => {
      const sidecars = (pod.spec.initContainers ?? []).length > 0;
      const wanted = comparableCalls(recording.cri, rules, sidecars);
      const made = comparableCalls(harness.fake.calls, rules, sidecars);
      if (scenario.pod === 'readiness-fails') made.inOrder = made.inOrder.filter(({ call }) => call !== 'ExecSync');
      assert.deepEqual(
        made.inOrder.map(({ call }) => call),
        wanted.inOrder.map(({ call }) => call),
      );
      assert.deepEqual(made.inOrder, wanted.inOrder);
      assert.deepEqual(made.removals, wanted.removals);
    });

    it('shows the recorded statuses', () => {
      const alive = <T extends { deleting?: boolean }>(list: T[]) => list.filter(({ deleting }) => deleting !== true);
      const { seen } = harness.api;
      const told = scenario.lastUnseen ? alive(seen).slice(0, -1) : seen;
      const made = comparableStatuses(told, rules);
      const wanted = comparableStatuses(scenario.lastUnseen ? alive(recording.status) : recording.status, rules);
      if (!scenario.joined) assert.deepEqual(made, wanted);
      else assert.deepEqual(made, keepCommon(wanted, made));
    });

    it('records the recorded events', () => {
      const unique = (list: unknown[]) => [...new Set(list.map((item) => JSON.stringify(item)))];
      const wanted = recording.events.map(({ type, reason, message, fieldPath }) => [type, reason, message, fieldPath]);
      const made = eventsBefore.map(({ type, reason, message, container }) => [
        type,
        reason,
        message,
        container === undefined ? undefined : containerFieldPath(pod, container),
      ]);
      assert.deepEqual(unique(scrub(made, rules) as unknown[]), unique(scrub(wanted, rules) as unknown[]));
    });
  });
}
