// The agent's path of a pod, put together from its real parts around a fake runtime, API and clock.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import type { ConfigMap, Node, Pod, Secret, Service } from '#kube/api/generated/core-v1.ts';
import { createAllocationManager } from '../../agent/allocation/allocation-manager.ts';
import { openAllocationStore } from '../../agent/allocation/allocation-store.ts';
import { createCgroupManager } from '../../agent/cgroup/cgroup-manager.ts';
import { createUserNamespaces } from '../../agent/container/user-namespaces.ts';
import { createPodSteps } from '../../agent/explain/pod-steps.ts';
import { createEnsureImage } from '../../agent/image/ensure-image.ts';
import { withSource } from '../../agent/pod-source/api-pod-source.ts';
import { createProbeManager } from '../../agent/probe/probe-manager.ts';
import { createRuntimeCache } from '../../agent/runtime-cache/runtime-cache.ts';
import { createStatusManager } from '../../agent/status/status-manager.ts';
import { createKeyBackoff } from '../../agent/sync/key-backoff.ts';
import { createPodWorkers } from '../../agent/sync/pod-workers.ts';
import type { ObjectCache } from '../../agent/volume/object-cache.ts';
import { createTokenManager } from '../../agent/volume/token-manager.ts';
import { createVolumeKinds } from '../../agent/volume/volume-kinds.ts';
import { createVolumeManager } from '../../agent/volume/volume-manager.ts';
import { createFakeClock, type FakeClock } from './fake-clock.ts';
import { createFakeMounter } from './fake-mounter.ts';
import { createFakePodApi, type FakePodApi } from './fake-pod-api.ts';
import { createFakeRuntime, type FakeRuntime, type FakeRuntimeOptions } from './fake-runtime.ts';

export interface SeenEvent {
  type: string;
  reason: string;
  message: string;
  container: string | undefined;
}

export interface HarnessOptions {
  pod: Pod;
  nodeName: string;
  hostIp: string;
  memoryBytes: number;
  configMaps: Record<string, ConfigMap>;
  secrets: Record<string, Secret>;
  services: Service[];
  /** Where pods ask for other resources. */
  node?: Node | undefined;
  runtime: Omit<FakeRuntimeOptions, 'clock'>;
  /** What an earlier harness left: the agent starts again over the same runtime, files and API. */
  after?: Pick<PodHarness, 'clock' | 'api' | 'fake' | 'rootDir'> | undefined;
}

export interface PodHarness {
  clock: FakeClock;
  api: FakePodApi;
  fake: FakeRuntime;
  events: SeenEvent[];
  rootDir: string;
  /** Lets time pass in small steps, waiting for all work between them. */
  pass(ms: number): Promise<void>;
  deletePod(): Promise<void>;
  /** Ends the agent; with `keep` its files stay for the next one. */
  close(keep?: boolean): Promise<void>;
}

const workNames = /^(FSReq|FileHandle|TCPConnect|TCPSocket)/;

/** Work on files and connections takes real time, whatever the fake clock says: waits until none is under way. */
async function quiet(busy: () => unknown): Promise<void> {
  for (let calm = 0, last = busy(); calm < 6; ) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const now = busy();
    const working = process.getActiveResourcesInfo().some((name) => workNames.test(name));
    calm = now === last && !working ? calm + 1 : 0;
    last = now;
  }
}

/** Starts the workers with the one pod on the node. */
export async function startPodHarness(options: HarnessOptions): Promise<PodHarness> {
  const { after } = options;
  const clock = after?.clock ?? createFakeClock(Date.parse('2026-01-01T00:00:00Z'));
  const logger = pino({ level: process.env['LOG_LEVEL'] ?? 'silent' });
  const rootDir = after?.rootDir ?? mkdtempSync(join(tmpdir(), 'agent-pod-'));
  const fake = after?.fake ?? createFakeRuntime({ clock, ...options.runtime });
  const { runtime, images } = fake;
  const events: SeenEvent[] = [];
  const stop = new AbortController();
  const record = (_: Pod, type: string, reason: string, message: string, container?: string) =>
    void events.push({ type, reason, message, container });
  const told = {
    changed: (pod: Pod) => {
      statuses.observe(pod);
      workers.update(withSource(pod, 'api', 'now'));
    },
    deleted: (pod: Pod) => {
      statuses.forget(pod.metadata.uid ?? '');
      workers.remove(pod.metadata.uid ?? '', 1);
    },
  };
  after?.api.tell(told);
  const api = after?.api ?? createFakePodApi(options.pod, told);
  const cache = createRuntimeCache({ runtime, clock, logger, relistPeriodMs: 1000 });
  const statuses = createStatusManager({ client: api.client, clock, logger });
  const tokens = createTokenManager(api.client, clock, () => 0);
  const objects: ObjectCache = {
    configMap: async (_, __, name) => options.configMaps[name],
    secret: async (_, __, name) => options.secrets[name],
    release: () => undefined,
    close: async () => undefined,
  };
  const trustBundles = { anchors: async () => '', release: () => undefined, close: async () => undefined };
  const mounter = createFakeMounter();
  const downward = (_: Pod, podIps: string[]) => ({ hostIps: [options.hostIp], podIps, nodeAllocatable: {} });
  const probes = createProbeManager({
    runtime,
    httpGet: async () => ({ status: 200, statusText: 'OK', body: '' }),
    clock,
    logger,
    record,
    hostIps: () => [options.hostIp],
    changed: (uid) => workers.wake(uid),
    startedAtMs: clock.now(),
  });
  const limits = { cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100, podPidsLimit: -1 };
  const resources = { memoryCapacityBytes: options.memoryBytes, hugepageSizes: ['2MB', '1GB'], ...limits };
  const podLogsDir = join(rootDir, 'logs');
  const cgroups = createCgroupManager({
    fs: {
      version: 1,
      ensure: async () => undefined,
      remove: async () => undefined,
      exists: async () => true,
      read: async () => ({ cpuShares: 2, cpuQuotaUs: Infinity, memoryBytes: Infinity, memoryUsageBytes: 0 }),
      children: async () => [],
    },
    driver: 'cgroupfs',
    root: '/',
    perQos: true,
    limits,
    enforceAllocatable: true,
  });
  const allocation = createAllocationManager({
    allocated: await openAllocationStore(join(rootDir, 'allocated_pods_state'), logger),
    actuated: await openAllocationStore(join(rootDir, 'actuated_pods_state'), logger),
    node: () => options.node,
    record,
    clock,
    logger,
  });
  const imageBackoff = createKeyBackoff(clock, 10_000, 300_000);
  const workers = createPodWorkers({
    execute: {
      allocation,
      cgroups,
      runtime,
      httpGet: async () => ({ status: 200, statusText: 'OK', body: '' }),
      clock,
      logger,
      record,
      mounter,
      imageVolumes: { prepare: async () => ({ type: 'runtime' }), release: async () => undefined },
      recursiveReadOnly: () => false,
      rootDir,
      clusterDomain: 'cluster.local',
      ensureImage: createEnsureImage({ images, clock, logger, record, backoff: imageBackoff, parallelPulls: 1 }),
      steps: createPodSteps(clock, () => undefined),
      imageBackoff,
      sandboxBackoff: createKeyBackoff(clock, 500, 60_000),
      container: { resources, security: { seccompProfileRoot: join(rootDir, 'seccomp'), seccompDefault: false } },
      sandbox: {
        podLogsDir,
        dns: {
          clusterDns: ['10.96.0.10'],
          clusterDomain: 'cluster.local',
          host: { servers: [], searches: [], options: [] },
        },
        resources,
      },
      services: () => options.services,
      sources: () => ({
        configMap: async (_, name) => options.configMaps[name],
        secret: async (_, name) => options.secrets[name],
      }),
      credentials: async () => [],
      downward,
      readHostsFile: async () => '',
      backoff: createKeyBackoff(clock, 10_000, 300_000),
      refresh: cache.refresh,
      runtimeHandler: async () => '',
      userNamespaces: createUserNamespaces({ rootDir, maxPods: 110, isSupported: () => false }),
    },
    cache,
    statuses,
    volumes: createVolumeManager({
      rootDir,
      mounter,
      kinds: createVolumeKinds({
        rootDir,
        mounter,
        sources: { objects, tokens, trustBundles, downward: (pod) => downward(pod, []) },
        clock,
        exec: async (file) => assert.fail(`nothing should start ${file}`),
        node: () => undefined,
      }),
      claims: { read: async () => undefined },
      clock,
      logger,
      record,
    }),
    cgroups,
    allocation,
    probes,
    clock,
    logger,
    hostIps: () => [options.hostIp],
    admit: async () => undefined,
    networkProblem: () => undefined,
    syncFrequencyMs: 60_000,
    podLogsDir,
    runtimeName: 'containerd',
    release: () => undefined,
  });
  const busy = () => `${fake.calls.length} ${events.length} ${api.seen.length}`;
  if (after !== undefined) await cache.relist();
  const running = Promise.all([cache.run(stop.signal), statuses.run(stop.signal), workers.run(stop.signal)]);
  const first = api.current();
  if (first !== undefined) workers.update(withSource(first, 'api', 'now'));
  workers.sourcesReady();
  await quiet(busy);
  return {
    clock,
    api,
    fake,
    events,
    rootDir,
    async pass(ms) {
      for (let left = ms; left > 0; left -= 500) {
        await clock.advance(Math.min(left, 500));
        await quiet(busy);
      }
    },
    async deletePod() {
      api.requestDeletion(clock.now());
      await quiet(busy);
    },
    async close(keep = false) {
      stop.abort();
      probes.close();
      await clock.advance(1);
      await running;
      if (!keep) rmSync(rootDir, { recursive: true, force: true });
    },
  };
}
