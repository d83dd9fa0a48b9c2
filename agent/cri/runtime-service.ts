// What the agent asks of a container runtime, in CRI v1 terms; independent of gRPC so that tests can stand in.
import type { AttachRequest } from '#proto/generated/cri/runtime/v1/AttachRequest.ts';
import type { Container__Output } from '#proto/generated/cri/runtime/v1/Container.ts';
import type { ContainerConfig } from '#proto/generated/cri/runtime/v1/ContainerConfig.ts';
import type { ContainerEventResponse__Output } from '#proto/generated/cri/runtime/v1/ContainerEventResponse.ts';
import type { ContainerFilter } from '#proto/generated/cri/runtime/v1/ContainerFilter.ts';
import type { ContainerStats__Output } from '#proto/generated/cri/runtime/v1/ContainerStats.ts';
import type { ContainerStatus__Output } from '#proto/generated/cri/runtime/v1/ContainerStatus.ts';
import type { ExecRequest } from '#proto/generated/cri/runtime/v1/ExecRequest.ts';
import type { ExecSyncResponse__Output } from '#proto/generated/cri/runtime/v1/ExecSyncResponse.ts';
import type { LinuxContainerResources } from '#proto/generated/cri/runtime/v1/LinuxContainerResources.ts';
import type { PodSandbox__Output } from '#proto/generated/cri/runtime/v1/PodSandbox.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import type { PodSandboxFilter } from '#proto/generated/cri/runtime/v1/PodSandboxFilter.ts';
import type { PodSandboxStatus__Output } from '#proto/generated/cri/runtime/v1/PodSandboxStatus.ts';
import type { StatusResponse__Output } from '#proto/generated/cri/runtime/v1/StatusResponse.ts';
import type { VersionResponse__Output } from '#proto/generated/cri/runtime/v1/VersionResponse.ts';

/** The status of a sandbox, and those of its containers where the runtime sends them along. */
export interface SandboxStatus {
  status: PodSandboxStatus__Output;
  containers: ContainerStatus__Output[];
}

/** Sandboxes and containers. Every call throws CriError and rejects when `signal` is aborted. */
export interface RuntimeService {
  version(signal?: AbortSignal): Promise<VersionResponse__Output>;
  /** `verbose`: with the runtime's own configuration in `info`. */
  status(signal?: AbortSignal, verbose?: boolean): Promise<StatusResponse__Output>;
  updateRuntimeConfig(podCidr: string, signal?: AbortSignal): Promise<void>;

  /** Returns the sandbox' id. An empty `runtimeHandler` is the runtime's default. */
  runPodSandbox(config: PodSandboxConfig, runtimeHandler: string, signal?: AbortSignal): Promise<string>;
  stopPodSandbox(sandboxId: string, signal?: AbortSignal): Promise<void>;
  removePodSandbox(sandboxId: string, signal?: AbortSignal): Promise<void>;
  podSandboxStatus(sandboxId: string, signal?: AbortSignal): Promise<SandboxStatus>;
  listPodSandbox(filter?: PodSandboxFilter, signal?: AbortSignal): Promise<PodSandbox__Output[]>;

  /** Returns the container's id. */
  createContainer(
    sandboxId: string,
    config: ContainerConfig,
    sandboxConfig: PodSandboxConfig,
    signal?: AbortSignal,
  ): Promise<string>;
  startContainer(containerId: string, signal?: AbortSignal): Promise<void>;
  /** Sends the stop signal, and kills after `timeoutSeconds`. */
  stopContainer(containerId: string, timeoutSeconds: number, signal?: AbortSignal): Promise<void>;
  /** Gives a running container other limits. */
  updateContainerResources(
    containerId: string,
    resources: LinuxContainerResources,
    signal?: AbortSignal,
  ): Promise<void>;
  removeContainer(containerId: string, signal?: AbortSignal): Promise<void>;
  listContainers(filter?: ContainerFilter, signal?: AbortSignal): Promise<Container__Output[]>;
  containerStatus(containerId: string, signal?: AbortSignal): Promise<ContainerStatus__Output>;
  reopenContainerLog(containerId: string, signal?: AbortSignal): Promise<void>;

  /** `timeoutSeconds` 0 means no limit. Throws CriError DeadlineExceeded when it runs out. */
  execSync(
    containerId: string,
    command: string[],
    timeoutSeconds: number,
    signal?: AbortSignal,
  ): Promise<ExecSyncResponse__Output>;
  /** Each returns the address of the runtime's streaming server. */
  exec(request: ExecRequest, signal?: AbortSignal): Promise<string>;
  attach(request: AttachRequest, signal?: AbortSignal): Promise<string>;
  portForward(sandboxId: string, ports: number[], signal?: AbortSignal): Promise<string>;

  /** Writes the state of a running container to an archive. `timeoutSeconds` 0: the runtime's own limit. */
  checkpointContainer(
    containerId: string,
    location: string,
    timeoutSeconds: number,
    signal?: AbortSignal,
  ): Promise<void>;

  listContainerStats(signal?: AbortSignal): Promise<ContainerStats__Output[]>;
  /** Ends when the runtime ends it; throws Unimplemented where the runtime has no events. */
  containerEvents(signal: AbortSignal): AsyncIterable<ContainerEventResponse__Output>;
}
