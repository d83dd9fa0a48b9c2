// The agent's own metrics, under kubelet's names.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { ProbeObservation } from '../probe/probe-manager.ts';
import type { VolumeOperation } from '../volume/observe-volumes.ts';

const operationBuckets = [
  0.005, 0.0125, 0.03125, 0.078125, 0.1953125, 0.48828125, 1.220703125, 3.0517578125, 7.62939453125, 19.073486328125,
  47.6837158203125, 119.20928955078125, 298.0232238769531,
];
const startBuckets = [
  0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
];
const syncBuckets = [0.01, 0.05, 0.1, 0.5, 1, 5, 10, 20, 30, 45, 60];
const defaultBuckets = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];

/** Numbers that are read when somebody asks. */
export interface MetricSources {
  nodeName: string;
  cgroupVersion: number;
  gitVersion: string;
  podCounts(): { desired: number; active: number; running: number; working: Record<string, number> };
  containerCounts(): Record<'created' | 'running' | 'exited' | 'unknown', number>;
  relistAgeSeconds(): number;
}

/** Metrics that are told what happens. */
export interface AgentMetrics {
  observeRelist(durationMs: number): void;
  observeRuntimeCall(operation: string, durationMs: number, failed: boolean): void;
  observeStatusSync(durationMs: number): void;
  observePodStep(operation: 'sync' | 'terminate', durationMs: number): void;
  observePodStarted(sinceSeenMs: number): void;
  observeStartStep(step: string, durationMs: number, podUid: string): void;
  /** Called with each pull of an image for a pod from then on. */
  onPulled(listener: (podUid: string, durationMs: number) => void): void;
  observeVolume(operation: VolumeOperation): void;
  observeCgroup(operation: string, durationMs: number): void;
  observeAuthorization(code: string, durationMs: number): void;
  requestStarted(request: { method: string; path: string }): void;
  observeContainerStarted(kind: string): void;
  observeRequest(request: { method: string; path: string; status: number; durationMs: number }): void;
  observeProbe(observation: ProbeObservation): void;
  /** The text of /metrics/probes. */
  probeText(): Promise<string>;
  contentType: string;
}

/** `path` without its variable parts, as kubelet labels requests. */
function requestPath(path: string): string {
  const [, first = ''] = path.split('/');
  return path.startsWith('/metrics/') ? path.slice(1) : first;
}

const longRunning = ['/containerLogs', '/exec', '/attach', '/portForward', '/run', '/debug'];

function labelsOf(method: string, path: string) {
  const isLong = longRunning.some((prefix) => path.startsWith(prefix));
  return { long_running: `${isLong}`, method, path: requestPath(path), server_type: 'readwrite' };
}

/** Registers the metrics. */
export function createAgentMetrics(registry: Registry, sources: MetricSources): AgentMetrics {
  const registers = [registry];
  const gauge = (name: string, help: string, collect: (this: Gauge) => void, labelNames: string[] = []) =>
    void new Gauge({ name, help, registers, labelNames, collect });
  const histogram = (name: string, help: string, buckets: number[], labelNames: string[] = []) =>
    new Histogram({ name, help, registers, buckets, labelNames });

  gauge(
    'kubelet_node_name',
    "The node's name. The count is always 1.",
    function () {
      this.set({ node: sources.nodeName }, 1);
    },
    ['node'],
  );
  gauge('kubelet_cgroup_version', 'cgroup version on the hosts.', function () {
    this.set(sources.cgroupVersion);
  });
  gauge('kubelet_running_pods', 'Number of pods that have a running pod sandbox', function () {
    this.set(sources.podCounts().running);
  });
  gauge(
    'kubelet_desired_pods',
    'The number of pods the kubelet is being instructed to run. static is true if the pod is not from the apiserver.',
    function () {
      this.set({ static: '' }, sources.podCounts().desired);
    },
    ['static'],
  );
  gauge(
    'kubelet_active_pods',
    'The number of pods the kubelet considers active and which are being considered when admitting new pods.',
    function () {
      this.set({ static: '' }, sources.podCounts().active);
    },
    ['static'],
  );
  gauge(
    'kubelet_working_pods',
    'Number of pods the kubelet is actually running, broken down by lifecycle phase, whether the pod is desired, orphaned, or runtime only, and whether the pod is static.',
    function () {
      this.reset();
      for (const [lifecycle, count] of Object.entries(sources.podCounts().working))
        this.set({ config: 'desired', lifecycle, static: '' }, count);
    },
    ['config', 'lifecycle', 'static'],
  );
  gauge(
    'kubelet_running_containers',
    'Number of containers currently running',
    function () {
      for (const [state, count] of Object.entries(sources.containerCounts()))
        this.set({ container_state: state }, count);
    },
    ['container_state'],
  );
  gauge('kubelet_pleg_last_seen_seconds', 'Timestamp in seconds when PLEG was last seen active.', function () {
    this.set(Date.now() / 1000 - sources.relistAgeSeconds());
  });
  gauge(
    'kubernetes_build_info',
    "A metric with a constant '1' value labeled by major, minor, git version and platform",
    function () {
      const [, major = '', minor = ''] = /^v(\d+)\.(\d+)/.exec(sources.gitVersion) ?? [];
      this.set(
        {
          build_date: '',
          compiler: '',
          git_commit: '',
          git_tree_state: '',
          git_version: sources.gitVersion,
          go_version: '',
          major,
          minor,
          platform: `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
        },
        1,
      );
    },
    [
      'build_date',
      'compiler',
      'git_commit',
      'git_tree_state',
      'git_version',
      'go_version',
      'major',
      'minor',
      'platform',
    ],
  );

  const relist = histogram(
    'kubelet_pleg_relist_duration_seconds',
    'Duration in seconds for relisting pods in PLEG.',
    defaultBuckets,
  );
  const relistInterval = histogram(
    'kubelet_pleg_relist_interval_seconds',
    'Interval in seconds between relisting in PLEG.',
    defaultBuckets,
  );
  const operations = new Counter({
    name: 'kubelet_runtime_operations_total',
    help: 'Cumulative number of runtime operations by operation type.',
    registers,
    labelNames: ['operation_type'],
  });
  const operationErrors = new Counter({
    name: 'kubelet_runtime_operations_errors_total',
    help: 'Cumulative number of runtime operation errors by operation type.',
    registers,
    labelNames: ['operation_type'],
  });
  const operationTimes = histogram(
    'kubelet_runtime_operations_duration_seconds',
    'Duration in seconds of runtime operations. Broken down by operation type.',
    operationBuckets,
    ['operation_type'],
  );
  const sandboxTimes = histogram(
    'kubelet_run_podsandbox_duration_seconds',
    'Duration in seconds of the run_podsandbox operations. Broken down by RuntimeClass.Handler.',
    operationBuckets,
    ['runtime_handler'],
  );
  const statusTimes = histogram(
    'kubelet_pod_status_sync_duration_seconds',
    'Duration in seconds to sync a pod status update. Measures time from detection of a change to pod status until the API is successfully updated for that pod.',
    syncBuckets,
  );
  const workerTimes = histogram(
    'kubelet_pod_worker_duration_seconds',
    'Duration in seconds to sync a single pod. Broken down by operation type: create, update, or sync',
    defaultBuckets,
    ['operation_type'],
  );
  const startTimes = histogram(
    'kubelet_pod_start_duration_seconds',
    'Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run',
    startBuckets,
  );
  const started = new Counter({
    name: 'kubelet_started_containers_total',
    help: 'Cumulative number of containers started',
    registers,
    labelNames: ['container_type'],
  });
  const startedPods = new Counter({
    name: 'kubelet_started_pods_total',
    help: 'Cumulative number of pods started',
    registers,
  });
  const sandboxErrors = new Counter({
    name: 'kubelet_started_pods_errors_total',
    help: 'Cumulative number of errors when starting pods',
    registers,
  });
  const requestLabels = ['long_running', 'method', 'path', 'server_type'];
  const requests = new Counter({
    name: 'kubelet_http_requests_total',
    help: 'Number of the http requests received since the server started',
    registers,
    labelNames: requestLabels,
  });
  const requestTimes = histogram(
    'kubelet_http_requests_duration_seconds',
    'Duration in seconds to serve http requests',
    defaultBuckets,
    requestLabels,
  );
  const stepTimes = histogram(
    'berth_pod_start_step_duration_seconds',
    'Time in seconds from the first attempt at a step of starting a pod or one of its containers until it succeeded.',
    operationBuckets,
    ['step'],
  );
  const inFlight = new Gauge({
    name: 'kubelet_http_inflight_requests',
    help: 'Number of the inflight http requests',
    registers,
    labelNames: requestLabels,
  });
  const cgroupTimes = histogram(
    'kubelet_cgroup_manager_duration_seconds',
    'Duration in seconds for cgroup manager operations. Broken down by method.',
    defaultBuckets,
    ['operation_type'],
  );
  const storageTimes = histogram(
    'storage_operation_duration_seconds',
    'Storage operation duration',
    [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600],
    ['migrated', 'operation_name', 'status', 'volume_plugin'],
  );
  const volumeTimes = histogram(
    'volume_operation_total_seconds',
    'Storage operation end to end duration in seconds',
    [0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 25, 50, 120, 300, 600],
    ['operation_name', 'plugin_name'],
  );
  const authorizations = new Counter({
    name: 'apiserver_delegated_authz_request_total',
    help: 'Number of HTTP requests partitioned by status code.',
    registers,
    labelNames: ['code'],
  });
  const authorizationTimes = histogram(
    'apiserver_delegated_authz_request_duration_seconds',
    'Request latency in seconds. Broken down by status code.',
    [0.25, 0.5, 0.7, 1, 1.5, 3, 5, 10],
    ['code'],
  );
  let pulled: (podUid: string, durationMs: number) => void = () => undefined;
  let lastRelistMs: number | undefined;

  const probeRegistry = new Registry();
  const probes = new Counter({
    name: 'prober_probe_total',
    help: 'Cumulative number of a liveness, readiness or startup probe for a container by result.',
    registers: [probeRegistry],
    labelNames: ['probe_type', 'result', 'container', 'pod', 'namespace', 'pod_uid'],
  });
  const probeTimes = new Histogram({
    name: 'prober_probe_duration_seconds',
    help: 'Duration in seconds for a probe response.',
    registers: [probeRegistry],
    buckets: defaultBuckets,
    labelNames: ['probe_type', 'container', 'pod', 'namespace'],
  });

  return {
    contentType: registry.contentType,
    observeRelist(durationMs) {
      relist.observe(durationMs / 1000);
      const now = performance.now();
      if (lastRelistMs !== undefined) relistInterval.observe((now - lastRelistMs) / 1000);
      lastRelistMs = now;
    },
    observeRuntimeCall(operation, durationMs, failed) {
      operations.inc({ operation_type: operation });
      operationTimes.observe({ operation_type: operation }, durationMs / 1000);
      if (failed) operationErrors.inc({ operation_type: operation });
      if (operation !== 'run_podsandbox') return;
      sandboxTimes.observe({ runtime_handler: '' }, durationMs / 1000);
      startedPods.inc();
      if (failed) sandboxErrors.inc();
    },
    observeStatusSync: (durationMs) => statusTimes.observe(durationMs / 1000),
    observePodStep: (operation, durationMs) => workerTimes.observe({ operation_type: operation }, durationMs / 1000),
    observeStartStep(step, durationMs, podUid) {
      stepTimes.observe({ step }, durationMs / 1000);
      if (step === 'pull') pulled(podUid, durationMs);
    },
    onPulled(listener) {
      pulled = listener;
    },
    observeVolume({ plugin, failed, durationMs }) {
      const status = failed ? 'fail-unknown' : 'success';
      const operation = 'volume_mount';
      storageTimes.observe(
        { migrated: 'false', operation_name: operation, status, volume_plugin: plugin },
        durationMs / 1000,
      );
      if (!failed) volumeTimes.observe({ operation_name: operation, plugin_name: plugin }, durationMs / 1000);
    },
    observeCgroup: (operation, durationMs) => cgroupTimes.observe({ operation_type: operation }, durationMs / 1000),
    observeAuthorization(code, durationMs) {
      authorizations.inc({ code });
      authorizationTimes.observe({ code }, durationMs / 1000);
    },
    requestStarted: ({ method, path }) => inFlight.inc(labelsOf(method, path)),
    observePodStarted: (sinceSeenMs) => startTimes.observe(sinceSeenMs / 1000),
    observeContainerStarted: (kind) => started.inc({ container_type: kind }),
    observeRequest({ method, path, durationMs }) {
      const labels = labelsOf(method, path);
      inFlight.dec(labels);
      requests.inc(labels);
      requestTimes.observe(labels, durationMs / 1000);
    },
    observeProbe({ pod, container, type, result, durationMs }) {
      const { name = '', namespace = '', uid = '' } = pod.metadata;
      const title = `${type.charAt(0).toUpperCase()}${type.slice(1)}`;
      probes.inc({ probe_type: title, result, container, pod: name, namespace, pod_uid: uid });
      probeTimes.observe({ probe_type: title, container, pod: name, namespace }, durationMs / 1000);
    },
    probeText: () => probeRegistry.metrics(),
  };
}
