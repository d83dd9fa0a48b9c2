// The calls to a driver of dynamic resources (k8s.io/kubelet/pkg/apis/dra/v1 and dra-health/v1alpha1), and the protocols
// for both sides.
import { fileURLToPath } from 'node:url';
import { connectivityState, credentials, loadPackageDefinition, type ServiceError } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/dra/api.ts';
import type { Device__Output } from '#proto/generated/dra/k8s/io/kubelet/pkg/apis/dra/v1/Device.ts';
import type { ProtoGrpcType as HealthGrpcType } from '#proto/generated/dra-health/api.ts';
import type { NodeWatchResourcesResponse__Output } from '#proto/generated/dra-health/v1alpha1/NodeWatchResourcesResponse.ts';
import { mapServiceError } from '../cri/cri-error.ts';
import { callUnary, protoOptions } from '../cri/grpc-channel.ts';
import type { HealthReport, HealthWord } from './device-health.ts';

const timeoutMs = 45_000;

/** A claim as drivers know it. */
export interface ClaimKey {
  namespace: string;
  name: string;
  uid: string;
}

/** One driver. Both calls may be repeated, and throw with the driver's own words. */
export interface DraClient {
  prepare(claim: ClaimKey, signal: AbortSignal): Promise<Device__Output[]>;
  unprepare(claim: ClaimKey, signal: AbortSignal): Promise<void>;
  /** What the driver tells of its devices, again when that changes. Throws CriError, Unimplemented where it does not. */
  watchHealth(signal: AbortSignal): AsyncIterable<HealthReport[]>;
  /** Whether the driver can be reached, again when that changes. */
  watchConnection(signal: AbortSignal): AsyncIterable<boolean>;
  close(): void;
}

const healthWords: Record<string, HealthWord> = { HEALTHY: 'Healthy', UNHEALTHY: 'Unhealthy' };

function reportsOf({ devices }: NodeWatchResourcesResponse__Output): HealthReport[] {
  return devices.flatMap(({ device, health, healthCheckTimeoutSeconds, message }) =>
    device === null
      ? []
      : [
          {
            pool: device.poolName,
            device: device.deviceName,
            health: healthWords[health] ?? 'Unknown',
            lifetimeMs: Math.max(healthCheckTimeoutSeconds, 0) * 1000,
            message,
          },
        ],
  );
}

/** The protocol of health, for the client here and for drivers in tests. */
export function loadDraHealthPackage(): HealthGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/dra-health/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as HealthGrpcType;
}

/** The protocol, for the client here and for drivers in tests. */
export function loadDraPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/dra/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

function answerFor<A extends { error: string }>(claims: Record<string, A>, { uid, name }: ClaimKey): A {
  const answer = claims[uid];
  if (answer === undefined) throw new Error(`the driver did not answer for claim ${name}`);
  if (answer.error !== '') throw new Error(answer.error);
  return answer;
}

/** Connects on the first call. */
export function openDraClient(socketPath: string): DraClient {
  const { DRAPlugin } = loadDraPackage().k8s.io.kubelet.pkg.apis.dra.v1;
  const methods = DRAPlugin.service;
  const options = { 'grpc.default_authority': 'localhost', 'grpc.max_reconnect_backoff_ms': 5000 };
  const client = new DRAPlugin(`unix://${socketPath}`, credentials.createInsecure(), options);
  const { DRAResourceHealth } = loadDraHealthPackage().v1alpha1;
  const health = new DRAResourceHealth(`unix://${socketPath}`, credentials.createInsecure(), options);
  return {
    async prepare(claim, signal) {
      const limits = { timeoutMs, signal };
      const { claims } = await callUnary(client, methods.NodePrepareResources, { claims: [claim] }, limits);
      return answerFor(claims, claim).devices;
    },
    async unprepare(claim, signal) {
      const limits = { timeoutMs, signal };
      const { claims } = await callUnary(client, methods.NodeUnprepareResources, { claims: [claim] }, limits);
      answerFor(claims, claim);
    },
    async *watchHealth(signal) {
      const stream = health.NodeWatchResources({});
      const stop = () => stream.cancel();
      signal.addEventListener('abort', stop, { once: true });
      try {
        for await (const message of stream as AsyncIterable<NodeWatchResourcesResponse__Output>) {
          yield reportsOf(message);
        }
      } catch (error) {
        throw mapServiceError('NodeWatchResources', error as ServiceError);
      } finally {
        signal.removeEventListener('abort', stop);
        stop();
      }
    },
    async *watchConnection(signal) {
      const channel = client.getChannel();
      const { promise: ended, resolve: end } = Promise.withResolvers<void>();
      signal.addEventListener('abort', () => end(), { once: true });
      for (let told: boolean | undefined; !signal.aborted; ) {
        const state = channel.getConnectivityState(true);
        const isReady = state === connectivityState.READY;
        if (isReady !== told && (isReady || state === connectivityState.TRANSIENT_FAILURE)) {
          told = isReady;
          yield isReady;
        }
        const changed = new Promise<void>((resolve) =>
          channel.watchConnectivityState(state, Number.POSITIVE_INFINITY, () => resolve()),
        );
        await Promise.race([changed, ended]);
      }
    },
    close() {
      client.close();
      health.close();
    },
  };
}
