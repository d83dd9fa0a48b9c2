// Narrowing of admission requests to pods.

import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { mirrorAnnotation } from '../authz/node/pod-references.ts';
import type { AdmissionRequest } from './plugin.ts';

export type PodObject = KubeObject & Pod & { spec: NonNullable<Pod['spec']> };

/** The pod that is being created, or undefined for any other request. */
export function createdPod({ verb, served, subresource, object }: AdmissionRequest): PodObject | undefined {
  const { group, kind } = served.stored;
  if (verb !== 'create' || subresource !== '' || group !== '' || kind !== 'Pod') return undefined;
  const pod = object as PodObject | undefined;
  return pod?.spec === undefined ? undefined : pod;
}

/** Whether the pod only shows a static pod of a node. */
export function isMirrorPod(pod: PodObject): boolean {
  return pod.metadata.annotations?.[mirrorAnnotation] !== undefined;
}
