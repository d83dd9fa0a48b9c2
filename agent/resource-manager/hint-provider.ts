// What the parts that give out processors, memory and devices have in common, so that the topology manager can bring
// their wishes together.
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { CDIDevice } from '#proto/generated/cri/runtime/v1/CDIDevice.ts';
import type { Device } from '#proto/generated/cri/runtime/v1/Device.ts';
import type { Mount } from '#proto/generated/cri/runtime/v1/Mount.ts';
import type { ResourceHints, TopologyHint } from './topology-hint.ts';

/** A container cannot get what it asks for. */
export class AllocationError extends Error {
  readonly code = 'ALLOCATION';
  /** Of the pod that is refused. */
  readonly reason: string;

  constructor(reason: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'AllocationError';
    this.reason = reason;
  }
}

/** Gives out one kind of resource. */
export interface HintProvider {
  /** Which nodes could serve the container, by resource; empty: it asks for nothing of this kind. */
  hints(pod: Pod, container: Container): ResourceHints;
  /** The same for the pod as a whole. */
  podHints(pod: Pod): ResourceHints;
  /** Gives the container what it asks for, once. Throws AllocationError, or anything else that went wrong. */
  allocate(pod: Pod, container: Container, hint: TopologyHint, signal: AbortSignal): Promise<void>;
  /** The pods that there are: what others had is free again. */
  retain(podUids: ReadonlySet<string>): void;
}

/** What a container is started with beyond what its definition says. */
export interface ContainerExtras {
  environment: Record<string, string>;
  mounts: Mount[];
  devices: Device[];
  annotations: Record<string, string>;
  cdiDevices: CDIDevice[];
  /** Lists as the kernel reads them, for example 0-3,8; absent: all. */
  cpus?: string | undefined;
  memoryNodes?: string | undefined;
  /** Processors are the container's own: no quota slows it down. */
  exclusiveCpus?: boolean;
}

/** Nothing beyond it. */
export function noExtras(): ContainerExtras {
  return { environment: {}, mounts: [], devices: [], annotations: {}, cdiDevices: [] };
}
