// RuntimeService over gRPC. Every call has a deadline: the configured request timeout, less for what only reads.
import type { RuntimeServiceClient } from '#proto/generated/cri/runtime/v1/RuntimeService.ts';
import { CriError, mapServiceError } from './cri-error.ts';
import { type CriChannel, callUnary, type UnaryOptions } from './grpc-channel.ts';
import type { RuntimeService } from './runtime-service.ts';

function required<T>(call: string, value: T | null): T {
  if (value === null) throw new CriError(call, 'Unknown', `the runtime's answer to ${call} lacks its content`);
  return value;
}

async function* streamEvents(client: RuntimeServiceClient, signal: AbortSignal) {
  const stream = client.getContainerEvents({});
  const cancel = () => stream.cancel();
  signal.addEventListener('abort', cancel, { once: true });
  try {
    for await (const event of stream) yield event;
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof Error && 'code' in error && 'details' in error) {
      throw mapServiceError('GetContainerEvents', error as Parameters<typeof mapServiceError>[1]);
    }
    throw error;
  } finally {
    signal.removeEventListener('abort', cancel);
    stream.cancel();
  }
}

/** What only reads is answered at once by a runtime that works: a hung question must not hold up the node for long. */
const questionTimeoutMs = 30_000;

/** The runtime behind `channel`; `requestTimeoutMs` is runtimeRequestTimeout of the configuration. */
export function createGrpcRuntimeService(channel: CriChannel, requestTimeoutMs: number): RuntimeService {
  const { runtime: client, runtimeMethods: methods } = channel;
  const short = (signal: AbortSignal | undefined): UnaryOptions => ({ timeoutMs: requestTimeoutMs, signal });
  const question = (signal: AbortSignal | undefined): UnaryOptions => ({
    timeoutMs: Math.min(requestTimeoutMs, questionTimeoutMs),
    signal,
  });
  // Sandbox creation runs network plugins, which may be slow: twice the time, as upstream does.
  const long = (signal: AbortSignal | undefined): UnaryOptions => ({ timeoutMs: 2 * requestTimeoutMs, signal });
  return {
    version: (signal) => callUnary(client, methods.Version, { version: '0.1.0' }, question(signal)),
    status: (signal, verbose = false) => callUnary(client, methods.Status, { verbose }, question(signal)),
    async updateRuntimeConfig(podCidr, signal) {
      const request = { runtimeConfig: { networkConfig: { podCidr } } };
      await callUnary(client, methods.UpdateRuntimeConfig, request, short(signal));
    },
    async runPodSandbox(config, runtimeHandler, signal) {
      const request = { config, runtimeHandler };
      return (await callUnary(client, methods.RunPodSandbox, request, long(signal))).podSandboxId;
    },
    async stopPodSandbox(podSandboxId, signal) {
      await callUnary(client, methods.StopPodSandbox, { podSandboxId }, short(signal));
    },
    async removePodSandbox(podSandboxId, signal) {
      await callUnary(client, methods.RemovePodSandbox, { podSandboxId }, short(signal));
    },
    async podSandboxStatus(podSandboxId, signal) {
      const answer = await callUnary(client, methods.PodSandboxStatus, { podSandboxId }, question(signal));
      return { status: required('PodSandboxStatus', answer.status), containers: answer.containersStatuses };
    },
    async listPodSandbox(filter, signal) {
      const request = filter === undefined ? {} : { filter };
      return (await callUnary(client, methods.ListPodSandbox, request, question(signal))).items;
    },
    async createContainer(podSandboxId, config, sandboxConfig, signal) {
      const request = { podSandboxId, config, sandboxConfig };
      return (await callUnary(client, methods.CreateContainer, request, short(signal))).containerId;
    },
    async startContainer(containerId, signal) {
      await callUnary(client, methods.StartContainer, { containerId }, short(signal));
    },
    async stopContainer(containerId, timeoutSeconds, signal) {
      const options = { timeoutMs: requestTimeoutMs + timeoutSeconds * 1000, signal };
      const request = { containerId, timeout: timeoutSeconds };
      await callUnary(client, methods.StopContainer, request, options);
    },
    async updateContainerResources(containerId, linux, signal) {
      await callUnary(client, methods.UpdateContainerResources, { containerId, linux }, short(signal));
    },
    async removeContainer(containerId, signal) {
      await callUnary(client, methods.RemoveContainer, { containerId }, short(signal));
    },
    async listContainers(filter, signal) {
      const request = filter === undefined ? {} : { filter };
      return (await callUnary(client, methods.ListContainers, request, question(signal))).containers;
    },
    async containerStatus(containerId, signal) {
      const answer = await callUnary(client, methods.ContainerStatus, { containerId }, question(signal));
      return required('ContainerStatus', answer.status);
    },
    async reopenContainerLog(containerId, signal) {
      await callUnary(client, methods.ReopenContainerLog, { containerId }, short(signal));
    },
    execSync(containerId, cmd, timeoutSeconds, signal) {
      const options = timeoutSeconds > 0 ? { timeoutMs: requestTimeoutMs + timeoutSeconds * 1000, signal } : { signal };
      const request = { containerId, cmd, timeout: timeoutSeconds };
      return callUnary(client, methods.ExecSync, request, options);
    },
    async exec(request, signal) {
      return (await callUnary(client, methods.Exec, request, short(signal))).url;
    },
    async attach(request, signal) {
      return (await callUnary(client, methods.Attach, request, short(signal))).url;
    },
    async portForward(podSandboxId, port, signal) {
      const request = { podSandboxId, port };
      return (await callUnary(client, methods.PortForward, request, short(signal))).url;
    },
    async checkpointContainer(containerId, location, timeout, signal) {
      const timeoutMs = requestTimeoutMs + timeout * 1000;
      await callUnary(client, methods.CheckpointContainer, { containerId, location, timeout }, { timeoutMs, signal });
    },
    async listContainerStats(signal) {
      return (await callUnary(client, methods.ListContainerStats, {}, question(signal))).stats;
    },
    containerEvents: (signal) => streamEvents(client, signal),
  };
}
