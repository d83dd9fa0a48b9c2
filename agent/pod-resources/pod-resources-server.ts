// The pod resources API (k8s.io/kubelet/pkg/apis/podresources/v1): which container has which devices, processors and
// memory, for monitoring and device software on the node.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  loadPackageDefinition,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { ProtoGrpcType } from '#proto/generated/podresources/api.ts';
import type { ContainerDevices } from '#proto/generated/podresources/v1/ContainerDevices.ts';
import type { ContainerMemory } from '#proto/generated/podresources/v1/ContainerMemory.ts';
import type { DynamicResource } from '#proto/generated/podresources/v1/DynamicResource.ts';
import type { GetPodResourcesRequest__Output } from '#proto/generated/podresources/v1/GetPodResourcesRequest.ts';
import type { PodResources } from '#proto/generated/podresources/v1/PodResources.ts';
import { protoOptions } from '../cri/grpc-channel.ts';

/** What one container has for itself. */
export interface OwnResources {
  devices: ContainerDevices[];
  cpus: number[];
  memory: ContainerMemory[];
  claims: DynamicResource[];
}

/** Where the answers come from. */
export interface PodResourcesSources {
  /** Pods that hold resources. */
  pods(): readonly Pod[];
  of(pod: Pod, container: Container): OwnResources;
  /** What the node could give away in all. */
  allocatable(): Omit<OwnResources, 'claims'>;
}

/** The protocol, for the server and for clients in tests. */
export function loadPodResourcesPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/podresources/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

/** One pod as the API shows it: containers, and sidecars before them. */
export function describePod(pod: Pod, { of }: PodResourcesSources): PodResources {
  const running = [...(pod.spec.initContainers ?? []).filter(isSidecar), ...pod.spec.containers];
  const { name, namespace = '' } = pod.metadata;
  return {
    name,
    namespace,
    containers: running.map((container) => {
      const { devices, cpus, memory, claims } = of(pod, container);
      return { name: container.name, devices, cpuIds: cpus, memory, dynamicResources: claims };
    }),
  };
}

/** Serves until the signal is aborted. */
export async function servePodResources(
  rootDir: string,
  sources: PodResourcesSources,
  signal: AbortSignal,
): Promise<void> {
  const directory = join(rootDir, 'pod-resources');
  const socket = join(directory, 'kubelet.sock');
  await mkdir(directory, { recursive: true, mode: 0o750 });
  await rm(socket, { force: true });
  const server = new Server();
  server.addService(loadPodResourcesPackage().v1.PodResourcesLister.service, {
    List: (_: unknown, answer: sendUnaryData<object>) =>
      answer(null, { podResources: sources.pods().map((pod) => describePod(pod, sources)) }),
    GetAllocatableResources(_: unknown, answer: sendUnaryData<object>) {
      const { devices, cpus, memory } = sources.allocatable();
      answer(null, { devices, cpuIds: cpus, memory });
    },
    Get(call: ServerUnaryCall<GetPodResourcesRequest__Output, object>, answer: sendUnaryData<object>) {
      const { podName, podNamespace } = call.request;
      const pod = sources
        .pods()
        .find(({ metadata }) => metadata.name === podName && metadata.namespace === podNamespace);
      if (pod === undefined) {
        answer({ code: status.NOT_FOUND, details: `pod ${podName} in namespace ${podNamespace} not found` });
      } else answer(null, { podResources: describePod(pod, sources) });
    },
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
    error === null ? resolve() : reject(error),
  );
  await promise;
  if (!signal.aborted) {
    await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
  }
  server.forceShutdown();
  await rm(socket, { force: true });
}
