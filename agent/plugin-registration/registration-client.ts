// The two calls of a plugin's registration socket (k8s.io/kubelet/pkg/apis/pluginregistration/v1).
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/pluginregistration/api.ts';
import { callUnary, protoOptions } from '../cri/grpc-channel.ts';
import type { PluginFacts } from './plugin-handler.ts';

const timeoutMs = 10_000;

/** A registration socket. */
export interface RegistrationClient {
  info(signal: AbortSignal): Promise<PluginFacts & { type: string }>;
  /** Tells the plugin; an empty error is success. */
  notify(error: string, signal: AbortSignal): Promise<void>;
  close(): void;
}

/** The protocol, for the client here and for servers in tests. */
export function loadRegistrationPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/pluginregistration/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

/** Connects on the first call. */
export function openRegistration(socketPath: string): RegistrationClient {
  const { Registration } = loadRegistrationPackage().pluginregistration;
  const methods = Registration.service;
  const client = new Registration(`unix://${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  return {
    async info(signal) {
      const { type, name, endpoint, supportedVersions } = await callUnary(
        client,
        methods.GetInfo,
        {},
        { timeoutMs, signal },
      );
      return { type, name, endpoint: endpoint === '' ? socketPath : endpoint, versions: supportedVersions };
    },
    async notify(error, signal) {
      const request = { pluginRegistered: error === '', error };
      await callUnary(client, methods.NotifyRegistrationStatus, request, { timeoutMs, signal });
    },
    close: () => client.close(),
  };
}
