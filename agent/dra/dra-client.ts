// The two calls to a driver of dynamic resources (k8s.io/kubelet/pkg/apis/dra/v1), and the protocol for both sides.
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/dra/api.ts';
import type { Device__Output } from '#proto/generated/dra/k8s/io/kubelet/pkg/apis/dra/v1/Device.ts';
import { callUnary, protoOptions } from '../cri/grpc-channel.ts';

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
  close(): void;
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
  const client = new DRAPlugin(`unix://${socketPath}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
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
    close: () => client.close(),
  };
}
