// Which kinds count the generations of their specification, and what counts as one.
import { isDeepStrictEqual } from 'node:util';
import type { KubeObject, Resource } from '#kube/api/resource.ts';

const counted = new Set([
  '/Pod',
  '/ReplicationController',
  'apps/DaemonSet',
  'apps/Deployment',
  'apps/ReplicaSet',
  'apps/StatefulSet',
  'batch/CronJob',
  'batch/Job',
  'policy/PodDisruptionBudget',
  'networking.k8s.io/Ingress',
  'networking.k8s.io/IngressClass',
  'networking.k8s.io/NetworkPolicy',
  'discovery.k8s.io/EndpointSlice',
  'scheduling.k8s.io/PriorityClass',
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration',
  'admissionregistration.k8s.io/MutatingWebhookConfiguration',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicy',
  'admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding',
  'admissionregistration.k8s.io/MutatingAdmissionPolicy',
  'admissionregistration.k8s.io/MutatingAdmissionPolicyBinding',
  'apiextensions.k8s.io/CustomResourceDefinition',
  'flowcontrol.apiserver.k8s.io/FlowSchema',
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration',
]);

/** Whether metadata.generation is kept for the kind. */
export function countsGenerations(resource: Resource): boolean {
  return counted.has(`${resource.group}/${resource.kind}`);
}

const withoutState = (object: KubeObject): Record<string, unknown> => {
  const {
    metadata: _metadata,
    status: _status,
    kind: _kind,
    apiVersion: _version,
    ...rest
  } = object as KubeObject & {
    status?: unknown;
  };
  return rest;
};

/** Whether an update changes more than metadata and status. */
export function isNewGeneration(object: KubeObject, previous: KubeObject): boolean {
  return !isDeepStrictEqual(withoutState(object), withoutState(previous));
}
