// How many bytes of images have arrived, which CRI does not tell but containerd does on the same socket.
import { fileURLToPath } from 'node:url';
import { credentials, loadPackageDefinition, Metadata } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/containerd/content.ts';
import { protoOptions } from './grpc-channel.ts';

const timeoutMs = 2000;
/** Where containerd keeps what CRI pulls. */
const criNamespace = 'k8s.io';

/** Bytes of everything that is being downloaded now; undefined when nothing is or the runtime does not tell. */
export type PullProgress = (signal: AbortSignal) => Promise<{ done: number; total?: number } | undefined>;

/** Asks the containerd behind a CRI endpoint. */
export function createPullProgress(endpoint: string): { progress: PullProgress; close(): void } {
  const path = fileURLToPath(import.meta.resolve('#proto/containerd/content.proto'));
  // The generated type describes exactly what this file decodes to.
  const { containerd } = loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
  const address = endpoint.startsWith('/') ? `unix://${endpoint}` : endpoint;
  const client = new containerd.services.content.v1.Content(address, credentials.createInsecure(), {
    'grpc.default_authority': 'localhost',
  });
  const metadata = new Metadata();
  metadata.set('containerd-namespace', criNamespace);
  const progress: PullProgress = (signal) =>
    new Promise((resolve) => {
      const call = client.listStatuses({}, metadata, { deadline: Date.now() + timeoutMs }, (error, answer) => {
        signal.removeEventListener('abort', cancel);
        const statuses = answer?.statuses ?? [];
        if (error !== null || statuses.length === 0) return resolve(undefined);
        const done = statuses.reduce((sum, { offset }) => sum + offset, 0);
        const known = statuses.every(({ total }) => total > 0);
        resolve(known ? { done, total: statuses.reduce((sum, { total }) => sum + total, 0) } : { done });
      });
      const cancel = () => call.cancel();
      signal.addEventListener('abort', cancel, { once: true });
    });
  return { progress, close: () => client.close() };
}
