// Pods recorded on a kubelet, run by a whole agent on a real containerd behind a recording proxy: the same requests in
// the same order, no status that a kubelet would not have shown, the same events.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Event, Pod } from '#kube/api/generated/core-v1.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import type { CriProxy, ProxiedCall } from '../support/cri-proxy.ts';
import { clustersUnavailable, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';
import type { RecordedCall } from '../support/fake-runtime.ts';
import { comparableCalls, comparableStatuses, loadPodRecording, scrub } from '../support/pod-recordings.ts';
import { type ProxiedCluster, startProxiedCluster } from '../support/proxied-cluster.ts';

/** The images of this machine, and what stands for them in the recording. */
const images = {
  'localhost/berth/busybox:1': {
    name: 'registry.k8s.io/e2e-test-images/busybox:1.37.0-1',
    id: 'sha256:89d9812e19755a3d0612a6912e199e8c08972bbc6a8b9cba6f88230542b30a9f',
  },
  'localhost/berth/pause:1': {
    name: 'registry.k8s.io/pause:3.6',
    id: 'sha256:f8738510c71189b93732c158a83eead13f24fca80d7edac11299c158ab4d58d6',
  },
};
const objects = [
  { kind: 'ConfigMap', metadata: { name: 'cm' }, data: { k: 'v', k2: 'v2' } },
  { kind: 'Secret', metadata: { name: 'sec' }, stringData: { k: 's' } },
];
const skip = clustersUnavailable() ?? false;
const namespace = 'rec';

/** How long each pod is left alone, in milliseconds, before it is deleted. */
const lifetimes: Record<string, number> = {
  plain: 4000,
  'two-containers': 4000,
  burstable: 4000,
  guaranteed: 4000,
  env: 4000,
  volumes: 4000,
  token: 4000,
  security: 4000,
  'shared-pid': 4000,
  'sandbox-runtime-class': 4000,
  hooks: 4000,
  succeeds: 4000,
  fails: 4000,
  oom: 4000,
  'bad-command': 4000,
  'crash-loops': 40_000,
  'init-and-sidecar': 8000,
  'liveness-fails': 27_000,
  'readiness-fails': 5000,
  'image-missing': 36_000,
  'configmap-missing': 3000,
  'volume-missing': 3000,
};

const recordedCalls = new Set([
  'RunPodSandbox',
  'StopPodSandbox',
  'RemovePodSandbox',
  'CreateContainer',
  'StartContainer',
  'StopContainer',
  'RemoveContainer',
  'ExecSync',
  'PullImage',
]);

type Json = Record<string, unknown>;
type Rules = [RegExp | string, string][];

/** The calls that were made for one pod, and what its ids are called in the recording. */
function callsOf(calls: readonly ProxiedCall[], pod: Pod): { own: ProxiedCall[]; ids: Rules } {
  const ids: Rules = [];
  const known = new Set<unknown>();
  let sandboxes = 0;
  const own = calls.filter(({ call, request, answer }) => {
    if (!recordedCalls.has(call)) return false;
    const config = request['config'] as { metadata?: Json } | undefined;
    if (call === 'RunPodSandbox') {
      if (config?.metadata?.['uid'] !== pod.metadata.uid) return false;
      const id = answer?.['podSandboxId'];
      if (id !== undefined) known.add(id);
      ids.push([String(id), `<sandbox ${sandboxes}>`]);
      sandboxes += 1;
      return true;
    }
    if (call === 'CreateContainer' && known.has(request['podSandboxId'])) {
      const id = answer?.['containerId'];
      if (id !== undefined) known.add(id);
      const { name, attempt } = config?.metadata ?? {};
      ids.push([String(id), `<container ${name} ${attempt}>`]);
      return true;
    }
    const sandbox = request['sandboxConfig'] as { metadata?: Json } | undefined;
    if (call === 'PullImage') return sandbox?.metadata?.['uid'] === pod.metadata.uid;
    return known.has(request['podSandboxId']) || known.has(request['containerId']);
  });
  // The sandbox' configuration is sent along with every creation; the recording has it once.
  return {
    own: own.map(({ call, request, error }) => ({
      call,
      request: { ...request, sandboxConfig: undefined },
      ...(error === undefined ? {} : { error }),
    })),
    ids,
  };
}

/** Every entry stands in `allowed`, in an order that `allowed` has too. */
function assertInOrder(made: unknown[], allowed: unknown[], what: string): void {
  let at = 0;
  for (const entry of made) {
    const found = allowed.findIndex((other, index) => index >= at && JSON.stringify(other) === JSON.stringify(entry));
    if (found < 0) assert.deepEqual(made, allowed, `${what}: ${JSON.stringify(entry)} is not recorded there`);
    at = found + 1;
  }
}

/** Names of containers that were created and whose start was asked for. */
function startedNames(calls: readonly RecordedCall[]): unknown[] {
  const starts = calls.filter(({ call }) => call === 'StartContainer').length;
  return calls
    .filter(({ call }) => call === 'CreateContainer')
    .slice(0, starts)
    .map(({ request }) => (request['config'] as { metadata: { name: string } }).metadata.name);
}

/** Whether mounts below the root can reach containers, as a pod of the recordings asks for. */
function rootIsShared(): boolean {
  const root = readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .find((line) => line.split(' ')[4] === '/');
  return root !== undefined && / (shared|master):\d+ /.test(root);
}

describe('pods recorded on a kubelet', { skip, concurrency: 32 }, () => {
  let proxied: ProxiedCluster;
  let cluster: TestCluster;
  let proxy: CriProxy;
  let nodeName = '';
  const imageIds: Rules = [];
  const seen: { event: string; object: Pod }[] = [];

  before(async () => {
    proxied = await startProxiedCluster();
    ({ cluster, proxy, nodeName } = proxied);
    const missing = loadPodRecording('image-missing').cri.find(({ call }) => call === 'PullImage')?.error;
    assert.ok(missing);
    proxy.inject({ call: 'PullImage', effect: 'error', message: missing });
    const [node] = cluster.layout.nodes;
    assert.ok(node);
    const ctr = ['-a', `${node.containerdSocket}.real`, '-n', 'k8s.io', 'images', 'tag'];
    for (const [from, { name, id }] of Object.entries(images)) {
      await execOrThrow(systemExec, 'ctr', [...ctr, from, name]);
      const call = proxy.calls.find(({ call: name, answer }) => name === 'ListImages' && answer !== undefined);
      const listed = (call?.answer?.['images'] ?? []) as { id: string; repoTags: string[] }[];
      imageIds.push([listed.find(({ repoTags }) => repoTags.includes(from))?.id ?? from, id]);
    }
    await cluster.kubectl('create', 'namespace', namespace);
    for (const object of objects)
      await cluster.apply({ apiVersion: 'v1', ...object, metadata: { ...object.metadata, namespace } });
    await eventually('the service account', async () => cluster.kubectl('get', 'sa', 'default', '-n', namespace));
    const watch = cluster.spawnKubectl('get', 'pods', '-n', namespace, '-w', '-o', 'json', '--output-watch-events');
    let text = '';
    watch.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      for (let end = text.indexOf('\n}\n'); end >= 0; end = text.indexOf('\n}\n')) {
        const { type, object } = JSON.parse(text.slice(0, end + 3));
        seen.push({ event: type, object });
        text = text.slice(end + 3);
      }
    });
    await sleep(1000);
  });
  after(async () => {
    await proxied?.[Symbol.asyncDispose]();
  });

  for (const [name, aliveMs] of Object.entries(lifetimes)) {
    it(`runs ${name} as recorded`, async (test) => {
      if (name === 'volumes' && !rootIsShared()) {
        test.skip('the root mount is private: mounts cannot be propagated from it (mount --make-rshared /)');
        return;
      }
      const recording = loadPodRecording(name);
      const { object } = recording;
      const manifest = JSON.stringify({ ...object, spec: { ...object.spec, nodeName } });
      const created = await cluster.tryKubectl(['create', '-f', '-'], { input: manifest });
      assert.equal(created.exitCode, 0, created.stderr);
      const podNow = async (): Promise<Pod> =>
        JSON.parse(await cluster.kubectl('get', 'pod', name, '-n', namespace, '-o', 'json'));
      // Many pods start at once: the time of each counts from when its containers were started.
      const { metadata } = await podNow();
      const due = new Set(startedNames(recording.cri));
      const hasSandbox = recording.cri.some(({ call }) => call === 'RunPodSandbox');
      await eventually(
        'its sandbox was made and its containers were started',
        async () => {
          const { own, ids } = callsOf(proxy.calls, { metadata } as Pod);
          const made = ids.some(([id, place]) => place.startsWith('<sandbox') && id !== 'undefined');
          return made === hasSandbox && new Set(startedNames(own)).size >= due.size;
        },
        60_000,
      );
      await sleep(aliveMs);
      const selector = `involvedObject.uid=${metadata.uid}`;
      const eventsNow = async (): Promise<unknown[]> => {
        const args = ['get', 'events', '-n', namespace, '--field-selector', selector, '-o', 'json'];
        const all: Event[] = JSON.parse(await cluster.kubectl(...args)).items;
        // A meant difference: this agent also tells the pod which process ran out of memory.
        const events = all.filter(({ reason }) => reason !== 'OOMKilling');
        // What the deletion adds was not recorded.
        return events
          .filter(({ reason, message }) => reason !== 'Killing' || !message?.startsWith('Stopping container'))
          .map(({ type, reason, message, involvedObject }) => [type, reason, message, involvedObject.fieldPath]);
      };
      const recorded = recording.events.map(({ type, reason, message, fieldPath }) => [
        type,
        reason,
        message,
        fieldPath,
      ]);
      const distinct = (list: unknown[]) => new Set(list.map((item) => JSON.stringify(item))).size;
      const allTold = async () => distinct(await eventsNow()) >= distinct(recorded);
      // What is missing after that time is shown by the comparison below.
      await eventually('all events were told', allTold, 20_000, 500).catch(() => undefined);
      const pod = await podNow();
      await cluster.kubectl('delete', 'pod', name, '-n', namespace);
      const { own, ids } = await eventually('the end of the sandbox', async () => {
        const found = callsOf(proxy.calls, pod);
        const started = found.own.some(({ call }) => call === 'RunPodSandbox');
        return !started || found.own.at(-1)?.call === 'RemovePodSandbox' ? found : undefined;
      });
      const [node] = cluster.layout.nodes;
      const { status } = pod;
      const rules: Rules = [
        [node?.podLogsDir ?? '', '/var/log/pods'],
        [node?.kubeletDir ?? '', '<root-dir>'],
        [pod.metadata.uid ?? '', '<uid>'],
        [`${node?.cgroupRoot}/kubepods`, '/kubepods'],
        [/kube-api-access-[a-z0-9]{5}/g, 'kube-api-access-<rand>'],
        [/(containers\/[a-z0-9]+\/)[0-9a-f]{8}/g, '$1<rand>'],
        ...ids,
        ...(status?.podIP === undefined ? [] : [[status.podIP, '<podIP>'] as [string, string]]),
        [status?.hostIP ?? '<hostIP>', '<hostIP>'],
        [nodeName, 'vm'],
        ...imageIds,
      ];
      const sidecars = (object.spec.initContainers ?? []).length > 0;
      const wanted = comparableCalls(recording.cri, rules, sidecars);
      const made = comparableCalls(own, rules, sidecars);
      assert.deepEqual(
        made.inOrder.map(({ call }) => call),
        wanted.inOrder.map(({ call }) => call),
      );
      assert.deepEqual(made.inOrder, wanted.inOrder);
      assert.deepEqual(made.removals, wanted.removals);

      const versions = seen
        .filter(({ object: { metadata } }) => metadata.uid === pod.metadata.uid)
        .map(({ event, object: { metadata, status } }) => ({
          event,
          deleting: metadata.deletionTimestamp !== undefined,
          status,
        }));
      const allowed = comparableStatuses(recording.status, rules);
      const shown = comparableStatuses(versions, rules);
      assertInOrder(shown, allowed, 'statuses');
      const unique = (list: unknown[]) => [...new Set(list.map((item) => JSON.stringify(scrub(item, rules))))].sort();
      assert.deepEqual(unique(await eventsNow()), unique(recorded));
    });
  }
});
