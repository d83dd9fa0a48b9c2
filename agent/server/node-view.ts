// What the server shows of the node: read-only questions to the other parts.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';

export interface NodeView {
  readonly nodeName: string;
  /** Pods of this node with their newest status. */
  pods(): Pod[];
  findPod(namespace: string, name: string, uid?: string): Pod | undefined;
  runtimeOf(podUid: string): PodRuntime | undefined;
  allRuntimes(): PodRuntime[];
}

/** A question about a container that has no answer; `status` is that of the HTTP answer. */
export class ContainerLogError extends Error {
  readonly code = 'CONTAINER_LOG';
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.name = 'ContainerLogError';
    this.status = status;
  }
}

/**
 * The run of a container whose log is meant (pkg/kubelet/kubelet.go: validateContainerLogStatus). Throws
 * ContainerLogError in kubelet's words.
 */
export function selectLoggedRun(view: NodeView, pod: Pod, name: string, previous: boolean): RuntimeContainer {
  const runs = (view.runtimeOf(pod.metadata.uid ?? '')?.containers ?? []).filter((run) => run.name === name);
  if (previous) {
    const earlier = runs[0]?.state === 'exited' && isRestarting(pod, name) ? runs[0] : runs[1];
    if (earlier !== undefined) return earlier;
    const message = `previous terminated container "${name}" in pod "${pod.metadata.name}" not found`;
    throw new ContainerLogError(400, message);
  }
  if (runs[0] !== undefined && runs[0].state !== 'created') return runs[0];
  const statuses = [
    ...(pod.status?.containerStatuses ?? []),
    ...(pod.status?.initContainerStatuses ?? []),
    ...(pod.status?.ephemeralContainerStatuses ?? []),
  ];
  const waiting = statuses.find((status) => status.name === name)?.state?.waiting;
  const reasons: Record<string, string> = {
    ErrImagePull: "image can't be pulled",
    ImagePullBackOff: 'trying and failing to pull image',
  };
  const doing = reasons[waiting?.reason ?? ''] ?? waiting?.reason ?? 'no logs yet';
  const what = `container "${name}" in pod "${pod.metadata.name}" is`;
  throw new ContainerLogError(400, `${what} waiting to start: ${doing}`);
}

/** While a container waits to be restarted, its last run is the previous one. */
function isRestarting(pod: Pod, name: string): boolean {
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return statuses.find((status) => status.name === name)?.state?.waiting !== undefined;
}
