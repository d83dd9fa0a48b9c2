// What the runtime has for one pod, as the agent reads it: the observed side of every plan.
import type { ContainerFacts } from '../container/labels.ts';

export type RuntimeContainerState = 'created' | 'running' | 'exited' | 'unknown';

/** One container, dead or alive. Times are milliseconds since the epoch, 0 where unknown. */
export interface RuntimeContainer {
  id: string;
  name: string;
  sandboxId: string;
  state: RuntimeContainerState;
  createdAtMs: number;
  startedAtMs: number;
  finishedAtMs: number;
  exitCode: number;
  reason: string;
  /** The termination message, or the runtime's own words. */
  message: string;
  /** As the pod names it, and as the runtime resolved it. */
  image: string;
  imageRef: string;
  logPath: string;
  facts: ContainerFacts;
  /** The signal that asks it to end, where the runtime tells it. */
  stopSignal: string | undefined;
  /** Numeric identity of the first process, where the runtime tells it. */
  user: { uid: number; gid: number; supplementalGroups: number[] } | undefined;
}

/** One sandbox of a pod. */
export interface RuntimeSandbox {
  id: string;
  attempt: number;
  ready: boolean;
  createdAtMs: number;
  /** Empty on the host network. */
  ips: string[];
  hostNetwork: boolean;
  annotations: Record<string, string>;
  labels: Record<string, string>;
}

/** All sandboxes and containers of a pod, newest first. */
export interface PodRuntime {
  uid: string;
  name: string;
  namespace: string;
  sandboxes: RuntimeSandbox[];
  containers: RuntimeContainer[];
}

/** A pod of which the runtime has nothing. */
export function emptyPodRuntime(uid: string, name: string, namespace: string): PodRuntime {
  return { uid, name, namespace, sandboxes: [], containers: [] };
}

/** The newest container of that name. */
export function latestContainer(runtime: PodRuntime, name: string): RuntimeContainer | undefined {
  return runtime.containers.find((container) => container.name === name);
}

/** Containers that are running, or that may be. */
export function liveContainers(runtime: PodRuntime): RuntimeContainer[] {
  return runtime.containers.filter((container) => container.state === 'running' || container.state === 'unknown');
}

/** True while anything of the pod still runs: a ready sandbox or a live container. */
export function isAlive(runtime: PodRuntime): boolean {
  return runtime.sandboxes.some((sandbox) => sandbox.ready) || liveContainers(runtime).length > 0;
}

/** Addresses of the newest sandbox that is ready. */
export function podIps(runtime: PodRuntime): string[] {
  return runtime.sandboxes.find((sandbox) => sandbox.ready)?.ips ?? [];
}
