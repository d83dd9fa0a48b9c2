// Metrics of pods that can be read off what is known of them: how long they took to start, how their containers ended,
// how many are of which kind. Told of changes of the runtime; everything else is counted when somebody asks.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { parseTime } from '#kube/api/time.ts';
import { configMirrorAnnotation, configSourceAnnotation } from '../../container/labels.ts';
import type { PodRuntime } from '../../runtime-cache/pod-runtime.ts';

const startBuckets = [
  0.5, 1, 2, 3, 4, 5, 6, 8, 10, 20, 30, 45, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
];
const countBuckets = [1, 2, 4, 8, 16];
const resizeConditions = ['PodResizeInProgress', 'PodResizePending'];

export interface PodMetricSources {
  /** Pods of the node with their newest status. */
  pods(): Pod[];
  findPod(uid: string): Pod | undefined;
  runtimeOf(uid: string): PodRuntime | undefined;
  /** Wall clock. Pods and containers from before are not counted as started or ended. */
  startedAtMs: number;
}

/** Told what happens. */
export interface PodMetrics {
  runtimeChanged(uid: string): void;
  imagePulled(uid: string, durationMs: number): void;
}

/** Whether the pod comes from this machine and not from the API server. */
export function isStaticPod({ metadata }: Pod): boolean {
  const source = metadata.annotations?.[configSourceAnnotation];
  return source !== undefined && source !== 'api';
}

function kindOf(pod: Pod | undefined, container: string): string {
  if (pod?.spec.initContainers?.some(({ name }) => name === container)) return 'init_container';
  if (pod?.spec.ephemeralContainers?.some(({ name }) => name === container)) return 'ephemeral_container';
  return 'container';
}

/** Registers the metrics. */
export function createPodMetrics(registry: Registry, sources: PodMetricSources): PodMetrics {
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, registers, buckets });
  const sizes = histogram('kubelet_containers_per_pod_count', 'The number of containers per pod.', countBuckets);
  const total = histogram(
    'kubelet_pod_start_total_duration_seconds',
    'Duration in seconds to start a pod since creation, including time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started',
    startBuckets,
  );
  const sli = histogram(
    'kubelet_pod_start_sli_duration_seconds',
    'Duration in seconds to start a pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started',
    startBuckets,
  );
  const terminated = new Counter({
    name: 'kubelet_terminated_containers_total',
    help: 'Cumulative number of containers terminated, by kind, exit code and reason',
    labelNames: ['container_type', 'exit_code', 'reason'],
    registers,
  });
  const restarted = new Counter({
    name: 'kubelet_restarted_pods_total',
    help: 'Number of pods that have been restarted because they were deleted and recreated with the same UID while the kubelet was watching them (common for static pods, extremely uncommon for API pods)',
    labelNames: ['static'],
    registers,
  });
  restarted.inc({ static: '' }, 0);
  const withUserNamespace = new Counter({
    name: 'kubelet_started_user_namespaced_pods_total',
    help: 'Cumulative number of pods with user namespaces started. This metric will only be collected on Linux.',
    registers,
  });
  const count = (name: string, help: string, number: (pods: Pod[]) => number) =>
    void new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(number(sources.pods()));
      },
    });
  count(
    'kubelet_managed_ephemeral_containers',
    'Current number of ephemeral containers in pods managed by this kubelet.',
    (pods) => pods.reduce((sum, { spec }) => sum + (spec.ephemeralContainers?.length ?? 0), 0),
  );
  count(
    'kubelet_mirror_pods',
    'The number of mirror pods the kubelet will try to create (one per admitted static pod)',
    (pods) =>
      pods.filter((pod) => isStaticPod(pod) && pod.metadata.annotations?.[configMirrorAnnotation] === undefined).length,
  );
  count(
    'kubelet_pod_in_progress_resizes',
    'Number of in-progress resizes for pods.',
    (pods) =>
      pods.filter(({ status }) =>
        status?.conditions?.some(({ type, status: value }) => type === resizeConditions[0] && value === 'True'),
      ).length,
  );
  const firstNetwork = new Gauge({
    name: 'kubelet_first_network_pod_start_sli_duration_seconds',
    help: 'Duration in seconds to start the first network pod, excluding time to pull images and run init containers, measured from pod creation timestamp to when all its containers are reported as started',
    registers,
  });
  let sawNetworkPod = false;
  const pulledMs = new Map<string, number>();
  const known = new Map<string, { started: boolean; ended: Set<string> }>();

  function observeStart(pod: Pod, runtime: PodRuntime): boolean {
    const createdMs = parseTime(pod.metadata.creationTimestamp) ?? 0;
    if (createdMs < sources.startedAtMs) return true;
    const runs = pod.spec.containers.map(({ name }) => runtime.containers.find((run) => run.name === name));
    const startedMs = runs.map((run) => run?.startedAtMs ?? 0);
    if (startedMs.includes(0)) return false;
    const tookMs = Math.max(...startedMs) - createdMs;
    // Init containers end before the first container starts.
    const initMs = runtime.containers
      .filter(({ name, state }) => kindOf(pod, name) === 'init_container' && state === 'exited')
      .reduce((sum, run) => sum + Math.max(run.finishedAtMs - run.startedAtMs, 0), 0);
    const sliSeconds = Math.max(tookMs - initMs - (pulledMs.get(runtime.uid) ?? 0), 0) / 1000;
    if (pod.spec.hostUsers === false) withUserNamespace.inc();
    total.observe(Math.max(tookMs, 0) / 1000);
    sli.observe(sliSeconds);
    if (!sawNetworkPod && pod.spec.hostNetwork !== true) {
      sawNetworkPod = true;
      firstNetwork.set(sliSeconds);
    }
    return true;
  }

  return {
    imagePulled: (uid, durationMs) => void pulledMs.set(uid, (pulledMs.get(uid) ?? 0) + durationMs),
    runtimeChanged(uid) {
      const runtime = sources.runtimeOf(uid);
      if (runtime === undefined) {
        known.delete(uid);
        pulledMs.delete(uid);
        return;
      }
      const pod = sources.findPod(uid);
      let state = known.get(uid);
      if (state === undefined) {
        state = { started: false, ended: new Set() };
        known.set(uid, state);
        if (pod !== undefined) sizes.observe(pod.spec.containers.length);
      }
      for (const run of runtime.containers) {
        if (run.state !== 'exited' || state.ended.has(run.id)) continue;
        state.ended.add(run.id);
        if (run.finishedAtMs < sources.startedAtMs) continue;
        terminated.inc({ container_type: kindOf(pod, run.name), exit_code: `${run.exitCode}`, reason: run.reason });
      }
      if (!state.started && pod !== undefined) state.started = observeStart(pod, runtime);
    },
  };
}
