// Pods: their first status, what each subresource may touch, and graceful deletion.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { computeQosClass } from '#kube/api/pod-qos.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Strategy } from '../strategy.ts';

type PodObject = KubeObject & Pod;

const isOver = (pod: Pod): boolean => pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';

/** Seconds a pod gets to end: none when nothing of it can be running. */
function gracePeriodSeconds(pod: Pod, requested: number | undefined): number {
  const wanted = requested ?? pod.spec?.terminationGracePeriodSeconds ?? 30;
  if ((pod.spec?.nodeName ?? '') === '' || isOver(pod)) return 0;
  return wanted < 0 ? 1 : wanted;
}

/** Only the resources of containers that the pod has. */
function resizeOnly(pod: PodObject, previous: PodObject): void {
  const spec = structuredClone(previous.spec);
  for (const list of ['containers', 'initContainers'] as const) {
    for (const container of spec?.[list] ?? []) {
      const wanted = pod.spec?.[list]?.find(({ name }) => name === container.name);
      if (wanted === undefined) continue;
      // What is left out is meant to go, which validation refuses.
      if (wanted.resources !== undefined) container.resources = wanted.resources;
      else if (container.resources !== undefined) container.resources = {};
      if (wanted.resizePolicy !== undefined) container.resizePolicy = wanted.resizePolicy;
    }
  }
  if (spec !== undefined) {
    if (pod.spec?.resources !== undefined) spec.resources = pod.spec.resources;
    pod.spec = spec;
  }
}

function ephemeralContainersOnly(pod: PodObject, previous: PodObject): void {
  const { ephemeralContainers } = pod.spec ?? {};
  const spec = structuredClone(previous.spec);
  if (spec === undefined) return;
  if (ephemeralContainers === undefined) delete spec.ephemeralContainers;
  else spec.ephemeralContainers = ephemeralContainers;
  pod.spec = spec;
}

export const podStrategy: Strategy<PodObject> = {
  prepareCreate: (pod) => {
    pod.status = { phase: 'Pending', qosClass: computeQosClass(pod) };
  },
  prepareUpdate: (pod, previous, _context, subresource) => {
    if (subresource === 'resize') resizeOnly(pod, previous);
    if (subresource === 'ephemeralcontainers') ephemeralContainersOnly(pod, previous);
    if (subresource === 'resize' || subresource === 'ephemeralcontainers') {
      if (previous.status !== undefined) pod.status = structuredClone(previous.status);
    }
    const qosClass = previous.status?.qosClass;
    if (qosClass !== undefined && pod.status !== undefined) pod.status.qosClass = qosClass;
  },
  gracePeriodSeconds,
};
