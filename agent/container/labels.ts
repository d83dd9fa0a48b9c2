// The labels and annotations that tie containers to pods. They are kubelet's own keys, so that either agent can
// take over the other's containers; everything needed after a restart is in them.
import type { Container, LifecycleHandler, Pod } from '#kube/api/generated/core-v1.ts';
import { containerHash } from './container-hash.ts';

export const podNameLabel = 'io.kubernetes.pod.name';
export const podNamespaceLabel = 'io.kubernetes.pod.namespace';
export const podUidLabel = 'io.kubernetes.pod.uid';
export const containerNameLabel = 'io.kubernetes.container.name';

const containerHashAnnotation = 'io.kubernetes.container.hash';
const restartCountAnnotation = 'io.kubernetes.container.restartCount';
const terminationMessagePathAnnotation = 'io.kubernetes.container.terminationMessagePath';
const terminationMessagePolicyAnnotation = 'io.kubernetes.container.terminationMessagePolicy';
const preStopHandlerAnnotation = 'io.kubernetes.container.preStopHandler';
const portsAnnotation = 'io.kubernetes.container.ports';
const podTerminationGracePeriodAnnotation = 'io.kubernetes.pod.terminationGracePeriod';
const podDeletionGracePeriodAnnotation = 'io.kubernetes.pod.deletionGracePeriod';

/** Where a pod's definition came from (api, file) and when it was first seen; sandboxes carry them. */
export const configSourceAnnotation = 'kubernetes.io/config.source';
export const configSeenAnnotation = 'kubernetes.io/config.seen';
export const configHashAnnotation = 'kubernetes.io/config.hash';
export const configMirrorAnnotation = 'kubernetes.io/config.mirror';

/** True for pods that the node has from a manifest; their mirrors at the API server are not meant. */
export function isStaticPod(pod: Pod): boolean {
  const source = pod.metadata.annotations?.[configSourceAnnotation];
  return source === 'file' || source === 'http';
}

/** Labels of a sandbox: the pod's own and its identity. */
export function sandboxLabels(pod: Pod): Record<string, string> {
  return { ...pod.metadata.labels, ...podIdentity(pod) };
}

function podIdentity(pod: Pod): Record<string, string> {
  return {
    [podNameLabel]: pod.metadata.name,
    [podNamespaceLabel]: pod.metadata.namespace ?? 'default',
    [podUidLabel]: pod.metadata.uid ?? '',
  };
}

/** Labels of a container. */
export function containerLabels(pod: Pod, container: Container): Record<string, string> {
  return { ...podIdentity(pod), [containerNameLabel]: container.name };
}

/** JSON of the handler with the fields in the order of the API type, without absent ones. */
function handlerJson(handler: LifecycleHandler): string {
  const { exec, httpGet, tcpSocket, sleep } = handler;
  const http = httpGet && {
    path: httpGet.path,
    port: httpGet.port,
    host: httpGet.host,
    scheme: httpGet.scheme,
    httpHeaders: httpGet.httpHeaders?.map(({ name, value }) => ({ name, value })),
  };
  return JSON.stringify({
    exec: exec && { command: exec.command },
    httpGet: http,
    tcpSocket: tcpSocket && { port: tcpSocket.port, host: tcpSocket.host },
    sleep: sleep && { seconds: sleep.seconds },
  });
}

function portsJson(container: Container): string {
  return JSON.stringify(
    (container.ports ?? []).map(({ name, hostPort, containerPort, protocol, hostIP }) => ({
      name,
      hostPort,
      containerPort,
      protocol: protocol ?? 'TCP',
      hostIP,
    })),
  );
}

/** Annotations of a container: what the agent needs to judge and stop it without the pod's definition. */
export function containerAnnotations(pod: Pod, container: Container, restartCount: number): Record<string, string> {
  const annotations: Record<string, string> = {
    [containerHashAnnotation]: containerHash(container),
    [restartCountAnnotation]: `${restartCount}`,
    [terminationMessagePathAnnotation]: container.terminationMessagePath ?? '/dev/termination-log',
    [terminationMessagePolicyAnnotation]: container.terminationMessagePolicy ?? 'File',
  };
  if (pod.metadata.deletionGracePeriodSeconds !== undefined) {
    annotations[podDeletionGracePeriodAnnotation] = `${pod.metadata.deletionGracePeriodSeconds}`;
  }
  if (pod.spec.terminationGracePeriodSeconds !== undefined) {
    annotations[podTerminationGracePeriodAnnotation] = `${pod.spec.terminationGracePeriodSeconds}`;
  }
  const preStop = container.lifecycle?.preStop;
  if (preStop !== undefined) annotations[preStopHandlerAnnotation] = handlerJson(preStop);
  if ((container.ports ?? []).length > 0) annotations[portsAnnotation] = portsJson(container);
  return annotations;
}

/** What a container's annotations say about it. */
export interface ContainerFacts {
  hash: string;
  restartCount: number;
  terminationMessagePath: string;
  fallbackToLogsOnError: boolean;
  /** Seconds, where the pod had a grace period. */
  terminationGracePeriodSeconds: number | undefined;
  preStop: LifecycleHandler | undefined;
}

function wholeNumber(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

function parseHandler(text: string | undefined): LifecycleHandler | undefined {
  if (text === undefined) return undefined;
  try {
    const decoded: unknown = JSON.parse(text);
    return typeof decoded === 'object' && decoded !== null ? (decoded as LifecycleHandler) : undefined;
  } catch {
    // Written by something else than a node agent: there is no hook to run.
    return undefined;
  }
}

/** Reads the annotations back; missing or damaged ones count as not set. */
export function parseContainerFacts(annotations: Record<string, string>): ContainerFacts {
  return {
    hash: annotations[containerHashAnnotation] ?? '',
    restartCount: wholeNumber(annotations[restartCountAnnotation]) ?? 0,
    terminationMessagePath: annotations[terminationMessagePathAnnotation] ?? '',
    fallbackToLogsOnError: annotations[terminationMessagePolicyAnnotation] === 'FallbackToLogsOnError',
    terminationGracePeriodSeconds: wholeNumber(annotations[podTerminationGracePeriodAnnotation]),
    preStop: parseHandler(annotations[preStopHandlerAnnotation]),
  };
}
