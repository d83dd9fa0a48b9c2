// The node service of one CSI driver: the only file that speaks CSI over gRPC. Secrets pass through and are never kept.
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { NodeExpandVolumeRequest } from '#proto/generated/csi/csi/v1/NodeExpandVolumeRequest.ts';
import type { NodeGetVolumeStatsResponse__Output } from '#proto/generated/csi/csi/v1/NodeGetVolumeStatsResponse.ts';
import type { NodePublishVolumeRequest } from '#proto/generated/csi/csi/v1/NodePublishVolumeRequest.ts';
import type { NodeStageVolumeRequest } from '#proto/generated/csi/csi/v1/NodeStageVolumeRequest.ts';
import type { ProtoGrpcType } from '#proto/generated/csi/csi.ts';
import { callUnary, protoOptions } from '../../cri/grpc-channel.ts';
import { mapCsiError } from './csi-error.ts';

/** As upstream: drivers may have to wait for storage. */
const timeoutMs = 120_000;

/** What a driver can do on a node, as it names it: STAGE_UNSTAGE_VOLUME. */
export type NodeCapabilities = ReadonlySet<string>;

/** The node as the driver knows it. */
export interface CsiNodeInfo {
  nodeId: string;
  /** 0: no limit. */
  maxVolumes: number;
  topology: Record<string, string>;
}

/** Every call throws CsiError. */
export interface CsiNodeClient {
  info(signal?: AbortSignal): Promise<CsiNodeInfo>;
  /** Asked once. */
  capabilities(signal?: AbortSignal): Promise<NodeCapabilities>;
  stage(request: NodeStageVolumeRequest, signal?: AbortSignal): Promise<void>;
  unstage(volumeId: string, stagingTargetPath: string, signal?: AbortSignal): Promise<void>;
  publish(request: NodePublishVolumeRequest, signal?: AbortSignal): Promise<void>;
  unpublish(volumeId: string, targetPath: string, signal?: AbortSignal): Promise<void>;
  expand(request: NodeExpandVolumeRequest, signal?: AbortSignal): Promise<void>;
  stats(volumeId: string, volumePath: string, signal?: AbortSignal): Promise<NodeGetVolumeStatsResponse__Output>;
  close(): void;
}

/** The protocol, for the client here and for servers in tests. */
export function loadCsiPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/csi/csi.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

/** Connects on the first call. */
export function openCsiNode(endpoint: string): CsiNodeClient {
  const { Node } = loadCsiPackage().csi.v1;
  const methods = Node.service;
  const client = new Node(`unix://${endpoint}`, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
    'grpc.max_reconnect_backoff_ms': 3000,
  });
  let known: Promise<NodeCapabilities> | undefined;

  function call<Q, A>(method: Parameters<typeof callUnary<Q, A>>[1], request: Q, signal?: AbortSignal): Promise<A> {
    return callUnary(client, method, request, { timeoutMs, signal }).catch((error: unknown) => {
      throw mapCsiError(error);
    });
  }

  async function askCapabilities(signal: AbortSignal | undefined): Promise<NodeCapabilities> {
    const { capabilities } = await call(methods.NodeGetCapabilities, {}, signal);
    return new Set(capabilities.flatMap(({ rpc }) => (rpc ? [rpc.type] : [])));
  }

  return {
    async info(signal) {
      const { nodeId, maxVolumesPerNode, accessibleTopology } = await call(methods.NodeGetInfo, {}, signal);
      return { nodeId, maxVolumes: Number(maxVolumesPerNode), topology: accessibleTopology?.segments ?? {} };
    },
    capabilities(signal) {
      known ??= askCapabilities(signal).catch((error: unknown) => {
        known = undefined;
        throw error;
      });
      return known;
    },
    async stage(request, signal) {
      await call(methods.NodeStageVolume, request, signal);
    },
    async unstage(volumeId, stagingTargetPath, signal) {
      await call(methods.NodeUnstageVolume, { volumeId, stagingTargetPath }, signal);
    },
    async publish(request, signal) {
      await call(methods.NodePublishVolume, request, signal);
    },
    async unpublish(volumeId, targetPath, signal) {
      await call(methods.NodeUnpublishVolume, { volumeId, targetPath }, signal);
    },
    async expand(request, signal) {
      await call(methods.NodeExpandVolume, request, signal);
    },
    stats: (volumeId, volumePath, signal) => call(methods.NodeGetVolumeStats, { volumeId, volumePath }, signal),
    close: () => client.close(),
  };
}
