// Between the version that a client speaks and the one that is stored, for the few kinds shown in two versions.
import { apiVersionOf, type KubeObject, type Resource } from '#kube/api/resource.ts';
import { autoscalerFromV2, autoscalerToV2 } from './conversion/autoscaler.ts';
import { eventFromCore, eventToCore } from './conversion/event.ts';
import type { ServedResource } from './resource-table.ts';

type Convert = (object: KubeObject) => KubeObject;

const conversions: Record<string, { toStored: Convert; fromStored: Convert }> = {
  'events.k8s.io/v1/Event': { toStored: eventToCore, fromStored: eventFromCore },
  'autoscaling/v1/HorizontalPodAutoscaler': { toStored: autoscalerToV2, fromStored: autoscalerFromV2 },
};

/** Custom resources of several versions differ in nothing but the version. */
function withApiVersion(object: KubeObject, resource: Resource): KubeObject {
  return { ...object, apiVersion: apiVersionOf(resource) };
}

/** The object in the stored version; the argument may be used up. */
export function toStored(served: ServedResource, object: KubeObject): KubeObject {
  if (served.isCustom === true) return withApiVersion(object, served.stored);
  return conversions[`${served.apiVersion}/${served.resource.kind}`]?.toStored(object) ?? object;
}

/** The object in the served version; the argument is not changed. */
export function fromStored(served: ServedResource, object: KubeObject): KubeObject {
  if (served.isCustom === true) return withApiVersion(object, served.resource);
  return conversions[`${served.apiVersion}/${served.resource.kind}`]?.fromStored(object) ?? object;
}
