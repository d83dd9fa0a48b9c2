// Between the version that a client speaks and the one that is stored, for the few built-in kinds shown in two versions;
// custom kinds are worked on in the version that is served (shown-entries.ts).
import type { KubeObject } from '#kube/api/resource.ts';
import { autoscalerFromV2, autoscalerToV2 } from './conversion/autoscaler.ts';
import { eventFromCore, eventToCore } from './conversion/event.ts';
import type { ServedResource } from './resource-table.ts';

type Convert = (object: KubeObject) => KubeObject;

const conversions: Record<string, { toStored: Convert; fromStored: Convert }> = {
  'events.k8s.io/v1/Event': { toStored: eventToCore, fromStored: eventFromCore },
  'autoscaling/v1/HorizontalPodAutoscaler': { toStored: autoscalerToV2, fromStored: autoscalerFromV2 },
};

/** The object in the stored version; the argument may be used up. */
export function toStored(served: ServedResource, object: KubeObject): KubeObject {
  return conversions[`${served.apiVersion}/${served.resource.kind}`]?.toStored(object) ?? object;
}

/** The object in the served version; the argument is not changed. */
export function fromStored(served: ServedResource, object: KubeObject): KubeObject {
  return conversions[`${served.apiVersion}/${served.resource.kind}`]?.fromStored(object) ?? object;
}
