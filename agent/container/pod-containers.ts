// Questions about the containers of a pod's definition that many parts ask.
import type { Container, EphemeralContainer, Pod } from '#kube/api/generated/core-v1.ts';

/** The three lists of containers a pod may have. */
export type ContainerKind = 'init' | 'regular' | 'ephemeral';

/** A container of the definition and the list it stands in. */
export interface ContainerOfPod {
  kind: ContainerKind;
  container: Container;
}

/** An ephemeral container seen as an ordinary one: the fields that differ are of no concern to the runtime. */
export function asContainer(ephemeral: EphemeralContainer): Container {
  const { targetContainerName: _, ...container } = ephemeral;
  return container;
}

/** Every container of the pod, init containers first. */
export function containersOf(pod: Pod): ContainerOfPod[] {
  return [
    ...(pod.spec.initContainers ?? []).map((container) => ({ kind: 'init' as const, container })),
    ...pod.spec.containers.map((container) => ({ kind: 'regular' as const, container })),
    ...(pod.spec.ephemeralContainers ?? []).map((item) => ({
      kind: 'ephemeral' as const,
      container: asContainer(item),
    })),
  ];
}

/** The container of that name, with its kind. */
export function findContainer(pod: Pod, name: string): ContainerOfPod | undefined {
  return containersOf(pod).find(({ container }) => container.name === name);
}

/** True for pods that share the node's network namespace. */
export function usesHostNetwork(pod: Pod): boolean {
  return pod.spec.hostNetwork === true;
}

/** The value of `fieldPath` in events about a container, for example `spec.containers{web}`. */
export function containerFieldPath(pod: Pod, name: string): string | undefined {
  switch (findContainer(pod, name)?.kind) {
    case 'init':
      return `spec.initContainers{${name}}`;
    case 'regular':
      return `spec.containers{${name}}`;
    case 'ephemeral':
      return `spec.ephemeralContainers{${name}}`;
    case undefined:
      return undefined;
  }
}

/** `name_namespace(uid)`: how messages name a pod. */
export function formatPod(pod: Pod): string {
  return `${pod.metadata.name}_${pod.metadata.namespace ?? ''}(${pod.metadata.uid ?? ''})`;
}
