// The state of one pod's worker, and the parts of the node that its steps use.
import type { Logger } from 'pino';
import type { Container, Pod, ResourceStatus } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { AllocationManager } from '../allocation/allocation-manager.ts';
import type { CgroupManager } from '../cgroup/cgroup-manager.ts';
import type { ClaimManager } from '../dra/claim-manager.ts';
import type { ProbeManager } from '../probe/probe-manager.ts';
import type { RuntimeCache } from '../runtime-cache/runtime-cache.ts';
import type { WaitingReason } from '../status/compute-container-statuses.ts';
import type { StatusManager } from '../status/status-manager.ts';
import type { VolumeManager } from '../volume/volume-manager.ts';
import type { Rejection } from './admit-pod.ts';
import type { ExecuteTools } from './execute-pod-actions.ts';

/** Why the node ended or refused a pod. */
export interface EndReason {
  phase: 'Failed';
  reason: string;
  message: string;
  /** The node ends a pod that does no wrong: the text of its condition DisruptionTarget. */
  disruption?: string;
  /** Seconds; the pod's own where absent. */
  graceSeconds?: number;
}

/** One pod on this node. A pod moves through the stages in their order, never back. */
export interface PodWork {
  /** The pod with the resources that it was given; what is done for it is done by this. */
  pod: Pod;
  /** The definition as its source tells it. */
  wanted: Pod;
  stage: 'running' | 'terminating' | 'terminated' | 'removed';
  /** The definition is gone from its source: nothing of the pod may stay. */
  gone: boolean;
  /** Seconds its containers have left when it was taken away without notice. */
  goneGraceSeconds: number | undefined;
  ended: EndReason | undefined;
  waiting: Map<string, WaitingReason>;
  /** The node has taken the pod. */
  admitted: boolean;
  /** Its start was told to the metrics. */
  startTold: boolean;
  cgroupReady: boolean;
  /** When the last sandbox could not be made, by the wall clock. */
  sandboxFailedAtMs: number | undefined;
  /** Cuts short what is under way, when the pod has to end sooner. */
  abort: AbortController;
}

/** Everything the steps of a pod use. */
export interface PodTools {
  execute: ExecuteTools;
  cache: RuntimeCache;
  statuses: StatusManager;
  volumes: VolumeManager;
  cgroups: CgroupManager;
  probes: ProbeManager;
  allocation: AllocationManager;
  /** So many ended runs of each container stay until dead containers are collected; absent: one. */
  deadKept?: number;
  /** Devices of a container, with their health. */
  deviceHealth?(pod: Pod, container: Container): ResourceStatus[];
  /** Absent: pods with claims cannot run. */
  claims?: Pick<ClaimManager, 'prepare' | 'unprepare'> | undefined;
  clock: Clock;
  logger: Logger;
  hostIps(): string[];
  /** Why the node refuses a pod, given those that use it already. */
  admit(pod: Pod, others: readonly Pod[], signal: AbortSignal): Promise<Rejection | undefined>;
  /** Told how long each step of a pod's worker took. */
  observeStep?(operation: 'sync' | 'terminate', durationMs: number): void;
  /** Told once for each pod that runs, how long after it was first seen. */
  observeStarted?(sinceSeenMs: number): void;
  /** Undefined when pods can have networks, else why not. */
  networkProblem(): string | undefined;
  syncFrequencyMs: number;
  podLogsDir: string;
  /** For example containerd. */
  runtimeName: string;
  /** The pod needs its objects and tokens no longer. */
  release(podUid: string): void;
}

/** A new worker's state. */
export function newPodWork(wanted: Pod, pod = wanted): PodWork {
  return {
    pod,
    wanted,
    stage: 'running',
    gone: false,
    goneGraceSeconds: undefined,
    ended: undefined,
    waiting: new Map(),
    admitted: false,
    startTold: false,
    cgroupReady: false,
    sandboxFailedAtMs: undefined,
    abort: new AbortController(),
  };
}
