// The probes of all running containers, and what they say about each. Follows the pods as the workers observe them.
import type { Logger } from 'pino';
import type { Container, Pod, Probe } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import { containersOf, usesHostNetwork } from '../container/pod-containers.ts';
import { type PodRuntime, podIps, type RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import type { ProbeVerdicts, Verdict } from '../sync/pod-action.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { ProbeResult } from './probe-result.ts';
import { type ProbeType, type ProbeWorker, startProbeWorker } from './probe-worker.ts';
import { type ProbeTools, runProbe } from './run-probe.ts';
import { createExecSharing, mayShareExec } from './share-exec.ts';

/** One result, for metrics. */
export interface ProbeObservation {
  pod: Pod;
  container: string;
  type: ProbeType;
  result: 'successful' | 'failed' | 'unknown';
  durationMs: number;
}

export interface ProbeManagerOptions extends ProbeTools {
  clock: Clock;
  logger: Logger;
  record: RecordPodEvent;
  hostIps(): string[];
  /** A verdict changed: the pod has to be looked at. */
  changed(podUid: string): void;
  observe?(observation: ProbeObservation): void;
  /** Containers older than this (wall clock) ran before the agent: they keep the readiness they had. */
  startedAtMs: number;
}

export interface ProbeManager {
  readonly verdicts: ProbeVerdicts;
  isReady(containerId: string, container: Container): boolean;
  isStarted(containerId: string, container: Container): boolean;
  /** Starts probes of containers that run, and stops those of containers that do not. */
  sync(pod: Pod, observed: PodRuntime): void;
  /** The pod is ending: only its readiness is of interest. */
  stopFailing(podUid: string): void;
  remove(podUid: string): void;
  close(): void;
}

const titles: Record<ProbeType, string> = { liveness: 'Liveness', readiness: 'Readiness', startup: 'Startup' };

function probesOf(container: Container): [ProbeType, Probe][] {
  const { livenessProbe, readinessProbe, startupProbe } = container;
  const probes: [ProbeType, Probe | undefined][] = [
    ['startup', startupProbe],
    ['liveness', livenessProbe],
    ['readiness', readinessProbe],
  ];
  return probes.flatMap(([type, probe]) => (probe === undefined ? [] : [[type, probe]]));
}

/** What the API server last knew of the container, if it is the same run. */
function statusBefore(pod: Pod, run: RuntimeContainer) {
  const { containerStatuses = [], initContainerStatuses = [] } = pod.status ?? {};
  return [...containerStatuses, ...initContainerStatuses].find(({ containerID }) =>
    containerID?.endsWith(`//${run.id}`),
  );
}

/** Creates the manager; probes start with the first `sync`. */
export function createProbeManager(options: ProbeManagerOptions): ProbeManager {
  const { clock, record } = options;
  const sharing = createExecSharing(clock);
  /** By pod uid, then by container id and type. */
  const pods = new Map<string, Map<string, ProbeWorker>>();
  const byContainer = new Map<string, Map<ProbeType, ProbeWorker>>();

  const verdictOf = (id: string, type: ProbeType): Verdict => byContainer.get(id)?.get(type)?.verdict ?? 'unknown';

  function initialVerdict(pod: Pod, run: RuntimeContainer, type: ProbeType): Verdict {
    const before = run.startedAtMs < options.startedAtMs ? statusBefore(pod, run) : undefined;
    if (type === 'liveness') return 'success';
    if (type === 'startup') return before?.started === true ? 'success' : 'unknown';
    return before?.ready === true ? 'success' : 'failure';
  }

  function report(pod: Pod, container: Container, type: ProbeType, result: ProbeResult, durationMs: number): void {
    const kind =
      result.result === 'success' || result.result === 'warning'
        ? 'successful'
        : result.result === 'failure'
          ? 'failed'
          : 'unknown';
    options.observe?.({ pod, container: container.name, type, result: kind, durationMs });
    if (result.result === 'failure') {
      record(pod, 'Warning', 'Unhealthy', `${titles[type]} probe failed: ${result.output}`, container.name);
    } else if (result.result === 'warning') {
      record(pod, 'Warning', 'ProbeWarning', `${titles[type]} probe warning: ${result.output}`, container.name);
    } else if (result.result === 'error') {
      const message = `${titles[type]} probe errored and resulted in unknown state: ${result.output}`;
      record(pod, 'Warning', 'Unhealthy', message, container.name);
    }
  }

  function start(
    pod: Pod,
    container: Container,
    run: RuntimeContainer,
    type: ProbeType,
    probe: Probe,
    podIp: string,
  ): void {
    const uid = pod.metadata.uid ?? '';
    let startedMs = 0;
    const worker = startProbeWorker({
      type,
      probe,
      startedAtMs: run.startedAtMs,
      initial: initialVerdict(pod, run, type),
      clock,
      mayRun: () =>
        type === 'startup' || container.startupProbe === undefined || verdictOf(run.id, 'startup') === 'success',
      run: (signal) => {
        startedMs = clock.monotonicMs();
        const execute = () => runProbe(options, probe, { container, containerId: run.id, podIp }, signal);
        return mayShareExec(pod, probe) ? sharing.run({ containerId: run.id, type, probe }, execute) : execute();
      },
      observed: (result) => report(pod, container, type, result, clock.monotonicMs() - startedMs),
      changed: () => {
        if (type === 'startup') {
          for (const other of byContainer.get(run.id)?.values() ?? []) if (other.type !== 'startup') other.trigger();
        }
        options.changed(uid);
      },
    });
    const own = pods.get(uid) ?? new Map<string, ProbeWorker>();
    pods.set(uid, own.set(`${run.id}|${type}`, worker));
    const ofContainer = byContainer.get(run.id) ?? new Map<ProbeType, ProbeWorker>();
    byContainer.set(run.id, ofContainer.set(type, worker));
  }

  function drop(uid: string, key: string): void {
    const own = pods.get(uid);
    own?.get(key)?.stop();
    own?.delete(key);
    const id = key.slice(0, key.indexOf('|'));
    if (![...(own?.keys() ?? [])].some((other) => other.startsWith(`${id}|`))) {
      byContainer.delete(id);
      sharing.forget(id);
    }
    if (own?.size === 0) pods.delete(uid);
  }

  return {
    verdicts: { liveness: (id) => verdictOf(id, 'liveness'), startup: (id) => verdictOf(id, 'startup') },
    isReady(id, container) {
      if (container.startupProbe !== undefined && verdictOf(id, 'startup') !== 'success') return false;
      return container.readinessProbe === undefined || verdictOf(id, 'readiness') === 'success';
    },
    isStarted: (id, container) => container.startupProbe === undefined || verdictOf(id, 'startup') === 'success',
    sync(pod, observed) {
      const uid = pod.metadata.uid ?? '';
      const wanted = new Set<string>();
      const podIp = usesHostNetwork(pod) ? (options.hostIps()[0] ?? '127.0.0.1') : podIps(observed)[0];
      for (const { kind, container } of containersOf(pod)) {
        if (kind === 'ephemeral' || (kind === 'init' && !isSidecar(container))) continue;
        const run = observed.containers.find(({ name }) => name === container.name);
        if (run?.state !== 'running' || podIp === undefined) continue;
        for (const [type, probe] of probesOf(container)) {
          const key = `${run.id}|${type}`;
          wanted.add(key);
          if (!pods.get(uid)?.has(key)) start(pod, container, run, type, probe, podIp);
        }
      }
      for (const key of [...(pods.get(uid)?.keys() ?? [])]) if (!wanted.has(key)) drop(uid, key);
    },
    stopFailing(podUid) {
      for (const worker of pods.get(podUid)?.values() ?? []) if (worker.type !== 'readiness') worker.stop();
    },
    remove(podUid) {
      for (const key of [...(pods.get(podUid)?.keys() ?? [])]) drop(podUid, key);
    },
    close() {
      for (const workers of pods.values()) for (const worker of workers.values()) worker.stop();
      pods.clear();
      byContainer.clear();
    },
  };
}
