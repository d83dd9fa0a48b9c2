// The calls to one device plugin (k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1), and the protocol for both sides.
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/deviceplugin/api.ts';
import type { ContainerAllocateResponse__Output } from '#proto/generated/deviceplugin/v1beta1/ContainerAllocateResponse.ts';
import type { Device__Output } from '#proto/generated/deviceplugin/v1beta1/Device.ts';
import type { DevicePluginOptions__Output } from '#proto/generated/deviceplugin/v1beta1/DevicePluginOptions.ts';
import type { ListAndWatchResponse__Output } from '#proto/generated/deviceplugin/v1beta1/ListAndWatchResponse.ts';
import { callUnary, protoOptions } from '../cri/grpc-channel.ts';

const optionsTimeoutMs = 10_000;
const preStartTimeoutMs = 30_000;
/** Nothing bounds it upstream; a plugin that never answers must not hold up a pod for ever. */
const allocateTimeoutMs = 120_000;

/** What a plugin answers to an allocation. */
export type AllocateAnswer = ContainerAllocateResponse__Output;

/** One plugin. Calls throw CriError. */
export interface DevicePluginClient {
  options(signal: AbortSignal): Promise<DevicePluginOptions__Output>;
  /** All devices, again whenever something about them changed. Ends with the plugin. */
  listAndWatch(signal: AbortSignal): AsyncIterable<Device__Output[]>;
  allocate(ids: readonly string[], signal: AbortSignal): Promise<AllocateAnswer>;
  preferred(
    request: { available: readonly string[]; include: readonly string[]; size: number },
    signal: AbortSignal,
  ): Promise<string[]>;
  preStart(ids: readonly string[], signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The protocol, for clients, the registration server, and plugins in tests. */
export function loadDevicePluginPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/deviceplugin/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

/** Connects on the first call. */
export function openDevicePlugin(socketPath: string): DevicePluginClient {
  const { DevicePlugin } = loadDevicePluginPackage().v1beta1;
  const methods = DevicePlugin.service;
  const client = new DevicePlugin(`unix://${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  return {
    options: (signal) => callUnary(client, methods.GetDevicePluginOptions, {}, { timeoutMs: optionsTimeoutMs, signal }),
    async *listAndWatch(signal) {
      const stream = client.ListAndWatch({});
      const stop = () => stream.cancel();
      signal.addEventListener('abort', stop, { once: true });
      try {
        for await (const message of stream as AsyncIterable<ListAndWatchResponse__Output>) yield message.devices;
      } finally {
        signal.removeEventListener('abort', stop);
        stop();
      }
    },
    async allocate(ids, signal) {
      const request = { containerRequests: [{ devicesIds: [...ids] }] };
      const limits = { timeoutMs: allocateTimeoutMs, signal };
      const { containerResponses } = await callUnary(client, methods.Allocate, request, limits);
      const [answer] = containerResponses;
      if (answer === undefined || containerResponses.length !== 1) {
        throw new Error(`the device plugin answered for ${containerResponses.length} containers instead of one`);
      }
      return answer;
    },
    async preferred({ available, include, size }, signal) {
      const request = { availableDeviceIDs: [...available], mustIncludeDeviceIDs: [...include], allocationSize: size };
      const limits = { timeoutMs: optionsTimeoutMs, signal };
      const answer = await callUnary(client, methods.GetPreferredAllocation, { containerRequests: [request] }, limits);
      return answer.containerResponses[0]?.deviceIDs ?? [];
    },
    async preStart(ids, signal) {
      const limits = { timeoutMs: preStartTimeoutMs, signal };
      await callUnary(client, methods.PreStartContainer, { devicesIds: [...ids] }, limits);
    },
    close: () => client.close(),
  };
}
