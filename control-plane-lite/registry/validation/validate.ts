// Which rules belong to which kind. Texts are the API server's own and are checked against
// recordings (test/data/api/errors.json).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';
import {
  validateDefinition,
  validateDefinitionStatus,
  validateDefinitionUpdate,
} from '../custom/validate-definition.ts';
import type { ValidateCreate, ValidateUpdate } from '../kind-rules.ts';
import { validateApiService } from './api-service-validation.ts';
import { validateAutoscaler } from './autoscaler-validation.ts';
import * as core from './core-validation.ts';
import * as flow from './flow-validation.ts';
import * as network from './network-validation.ts';
import { validateObjectMeta, validateObjectMetaUpdate } from './object-meta-validation.ts';
import { validatePodResize } from './pod-resize.ts';
import { validateEphemeralContainersUpdate, validatePodUpdate } from './pod-update.ts';
import { validatePodCreate } from './pod-validation.ts';
import * as policy from './policy-validation.ts';
import * as quota from './quota-validation.ts';
import * as addresses from './service-network-validation.ts';
import * as service from './service-validation.ts';
import * as storage from './storage-validation.ts';
import * as workload from './workload-validation.ts';

interface Rules {
  create(object: KubeObject): FieldError[];
  update(object: KubeObject, previous: KubeObject): FieldError[];
}

/** The table is keyed by group and kind, so the object's type is what each function says it takes. */
function rules<T extends KubeObject>(
  create: (object: T) => FieldError[],
  update: (object: T, previous: T) => FieldError[] = create,
): Rules {
  return { create, update } as unknown as Rules;
}

const tables: Record<string, Rules> = {
  '/Pod': rules((pod: Pod) => validatePodCreate(pod.spec), validatePodUpdate),
  '/Service': rules(service.validateService, service.validateServiceUpdate),
  '/Endpoints': rules(service.validateEndpoints),
  '/ConfigMap': rules(core.validateConfigMap, core.validateConfigMapUpdate),
  '/Secret': rules(core.validateSecret, core.validateSecretUpdate),
  '/Node': rules(core.validateNode, core.validateNodeUpdate),
  '/Event': rules(core.validateEvent, () => []),
  '/ReplicationController': rules(workload.validateReplicationController),
  '/PersistentVolume': rules(storage.validatePersistentVolume, storage.validatePersistentVolumeUpdate),
  '/PersistentVolumeClaim': rules(storage.validateClaim, storage.validateClaimUpdate),
  '/ResourceQuota': rules(quota.validateResourceQuota, quota.validateResourceQuotaUpdate),
  '/LimitRange': rules(quota.validateLimitRange),
  'apps/Deployment': rules(workload.validateDeployment, workload.validateDeploymentUpdate),
  'apps/ReplicaSet': rules(workload.validateReplicaSet, workload.validateReplicaSetUpdate),
  'apps/StatefulSet': rules(workload.validateStatefulSet, workload.validateStatefulSetUpdate),
  'apps/DaemonSet': rules(workload.validateDaemonSet, workload.validateDaemonSetUpdate),
  'batch/Job': rules(workload.validateJob, workload.validateJobUpdate),
  'batch/CronJob': rules(workload.validateCronJob),
  'discovery.k8s.io/EndpointSlice': rules(service.validateEndpointSlice, service.validateEndpointSliceUpdate),
  'networking.k8s.io/IPAddress': rules(addresses.validateIpAddress, addresses.validateIpAddressUpdate),
  'networking.k8s.io/ServiceCIDR': rules(addresses.validateServiceCidr, addresses.validateServiceCidrUpdate),
  'networking.k8s.io/Ingress': rules(network.validateIngress),
  'networking.k8s.io/IngressClass': rules(network.validateIngressClass, network.validateIngressClassUpdate),
  'networking.k8s.io/NetworkPolicy': rules(network.validateNetworkPolicy),
  'rbac.authorization.k8s.io/Role': rules(policy.validateRole),
  'rbac.authorization.k8s.io/ClusterRole': rules(policy.validateClusterRole),
  'rbac.authorization.k8s.io/RoleBinding': rules(policy.validateBinding, policy.validateBindingUpdate),
  'rbac.authorization.k8s.io/ClusterRoleBinding': rules(policy.validateBinding, policy.validateBindingUpdate),
  'policy/PodDisruptionBudget': rules(policy.validateDisruptionBudget),
  'autoscaling/v2/HorizontalPodAutoscaler': rules(validateAutoscaler),
  'coordination.k8s.io/Lease': rules(policy.validateLease),
  'scheduling.k8s.io/PriorityClass': rules(policy.validatePriorityClass, policy.validatePriorityClassUpdate),
  'node.k8s.io/RuntimeClass': rules(policy.validateRuntimeClass, policy.validateRuntimeClassUpdate),
  'certificates.k8s.io/CertificateSigningRequest': rules(policy.validateCertificateSigningRequest, () => []),
  'storage.k8s.io/StorageClass': rules(storage.validateStorageClass, storage.validateStorageClassUpdate),
  'storage.k8s.io/CSIDriver': rules(storage.validateCsiDriver, storage.validateCsiDriverUpdate),
  'flowcontrol.apiserver.k8s.io/FlowSchema': rules(flow.validateFlowSchema),
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration': rules(flow.validatePriorityLevel),
  'apiregistration.k8s.io/APIService': rules(validateApiService),
  'apiextensions.k8s.io/CustomResourceDefinition': rules(validateDefinition, validateDefinitionUpdate),
};

function rulesOf({ group, version, kind }: Resource): Rules | undefined {
  return tables[`${group}/${kind}`] ?? tables[`${group}/${version}/${kind}`];
}

/** Rules of a new object: metadata first, then its kind's own. The object is already defaulted. */
export const validateCreate: ValidateCreate = (resource, object) => [
  ...validateObjectMeta(resource, object),
  ...(rulesOf(resource)?.create(object) ?? []),
];

/** Rules of a changed object. Status and the like only keep metadata's rules: their content is trusted to their writers. */
export const validateUpdate: ValidateUpdate = (resource, object, previous, subresource) => {
  const metadata = validateObjectMetaUpdate(object, previous);
  if (subresource === '') return [...metadata, ...(rulesOf(resource)?.update(object, previous) ?? [])];
  if (resource.kind === 'CustomResourceDefinition') {
    return [...metadata, ...validateDefinitionStatus(object as Parameters<typeof validateDefinitionStatus>[0])];
  }
  if (resource.kind === 'Pod' && resource.group === '') {
    if (subresource === 'resize') return [...metadata, ...validatePodResize(object as Pod, previous as Pod)];
    if (subresource === 'ephemeralcontainers') {
      return [...metadata, ...validateEphemeralContainersUpdate(object as Pod, previous as Pod)];
    }
  }
  return metadata;
};
