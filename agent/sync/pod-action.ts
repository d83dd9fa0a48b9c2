// What can be done to a pod, and what the planner looks at to decide it.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { ContainerKind } from '../container/pod-containers.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import type { ContainerUpdate } from './plan-resize.ts';

/** What a probe says about a container now. */
export type Verdict = 'success' | 'failure' | 'unknown';

/** The verdicts that decide about restarts and order. */
export interface ProbeVerdicts {
  liveness(containerId: string): Verdict;
  startup(containerId: string): Verdict;
}

/** How long a failed container has to wait before it is started again; undefined: not at all. */
export type RestartDelay = (
  container: Container,
  lastFinishedAtMs: number,
) => { untilMs: number; delayMs: number } | undefined;

export type PodAction =
  /** Stop every container and sandbox of the pod. */
  | { type: 'killPod'; reason: 'SandboxChanged' | 'Completed' }
  | { type: 'createSandbox'; attempt: number }
  | {
      type: 'killContainer';
      target: RuntimeContainer;
      reason: 'ContainerChanged' | 'LivenessFailed' | 'StartupFailed' | 'ResizeRestart' | 'Unknown';
      message: string;
      /** Seconds, where a probe sets its own. */
      gracePeriodSeconds: number | undefined;
    }
  | { type: 'removeContainer'; target: RuntimeContainer }
  /** Every container goes, without preStop hooks, and the pod starts from its beginning in the same sandbox. */
  | { type: 'restartAll'; stop: RuntimeContainer[]; remove: RuntimeContainer[] }
  /** Give running containers, and the pod as a whole, the resources allocated to them. */
  | { type: 'resizePod'; updates: ContainerUpdate[] }
  | { type: 'startContainer'; kind: ContainerKind; container: Container; restartCount: number }
  | { type: 'backOff'; container: Container; untilMs: number; delayMs: number };

/** What the planner looks at. */
export interface PlanInputs {
  pod: Pod;
  observed: PodRuntime;
  probes: ProbeVerdicts;
  restartDelay: RestartDelay;
  /** The pod with the resources that its containers run with; absent: those of its definition. */
  actuated?: Pod;
  /** So many ended runs of each container stay; absent: one. */
  deadKept?: number;
}
