// The pods bound to this node, from the API server.
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { configSeenAnnotation, configSourceAnnotation } from '../container/labels.ts';

/** One informer over the node's pods. */
export function createApiPodInformer(client: ApiClient, nodeName: string, clock: Clock, logger: Logger): Informer<Pod> {
  return createInformer({ client, resource: pods, fieldSelector: `spec.nodeName=${nodeName}`, clock, logger });
}

/** The pod as the agent uses it: marked with its source and the time it was first seen. */
export function withSource(pod: Pod, source: 'api' | 'file' | 'http', seen: string): Pod {
  const annotations = {
    ...pod.metadata.annotations,
    [configSourceAnnotation]: source,
    [configSeenAnnotation]: seen,
  };
  return { ...pod, metadata: { ...pod.metadata, annotations } };
}
