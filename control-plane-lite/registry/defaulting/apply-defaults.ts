// Which defaults belong to which kind. Values come from the API reference of Kubernetes v1.36 and are
// checked against recordings of an API server (test/data/api/defaults.json).
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApplyDefaults } from '../kind-rules.ts';
import {
  defaultApiService,
  defaultCustomResourceDefinition,
  defaultEvent,
  defaultNamespace,
  defaultNode,
  defaultSecret,
} from './core-defaults.ts';
import {
  defaultEndpointSlice,
  defaultEndpoints,
  defaultIngress,
  defaultNetworkPolicy,
  defaultService,
} from './network-defaults.ts';
import { defaultPod, defaultPodTemplate } from './pod-defaults.ts';
import {
  defaultBinding,
  defaultFlowSchema,
  defaultHorizontalPodAutoscaler,
  defaultLimitRange,
  defaultPriorityClass,
  defaultPriorityLevel,
  defaultWebhooks,
} from './policy-defaults.ts';
import { defaultClaim, defaultCsiDriver, defaultPersistentVolume, defaultStorageClass } from './volume-defaults.ts';
import {
  defaultCronJob,
  defaultDaemonSet,
  defaultDeployment,
  defaultJob,
  defaultReplicaSet,
  defaultReplicationController,
  defaultStatefulSet,
} from './workload-defaults.ts';

type Defaulter = (object: KubeObject) => void;

/** The table is keyed by group and kind, so the object's type is what each function says it takes. */
function defaulter<T extends KubeObject>(apply: (object: T) => void): Defaulter {
  return apply as Defaulter;
}

const withStatus = (status: Record<string, unknown>): Defaulter => {
  return (object) => {
    const target = object as KubeObject & { status?: unknown };
    target.status ??= structuredClone(status);
  };
};

const disruptionStatus = { disruptionsAllowed: 0, currentHealthy: 0, desiredHealthy: 0, expectedPods: 0 };

const defaulters: Record<string, Defaulter> = {
  '/Pod': defaulter(defaultPod),
  '/PodTemplate': defaulter((object: KubeObject & { template?: object }) => {
    object.template ??= {};
    defaultPodTemplate(object.template);
  }),
  '/ReplicationController': defaulter(defaultReplicationController),
  '/Service': defaulter(defaultService),
  '/Endpoints': defaulter(defaultEndpoints),
  '/Namespace': defaulter(defaultNamespace),
  '/Node': defaulter(defaultNode),
  '/Secret': defaulter(defaultSecret),
  '/Event': defaulter(defaultEvent),
  '/PersistentVolume': defaulter(defaultPersistentVolume),
  '/PersistentVolumeClaim': defaulter(defaultClaim),
  '/LimitRange': defaulter(defaultLimitRange),
  '/ResourceQuota': withStatus({}),
  'apps/ReplicaSet': defaulter(defaultReplicaSet),
  'apps/Deployment': defaulter(defaultDeployment),
  'apps/StatefulSet': defaulter(defaultStatefulSet),
  'apps/DaemonSet': defaulter(defaultDaemonSet),
  'batch/Job': defaulter(defaultJob),
  'batch/CronJob': defaulter(defaultCronJob),
  'discovery.k8s.io/EndpointSlice': defaulter(defaultEndpointSlice),
  'networking.k8s.io/Ingress': defaulter(defaultIngress),
  'networking.k8s.io/NetworkPolicy': defaulter(defaultNetworkPolicy),
  'rbac.authorization.k8s.io/RoleBinding': defaulter(defaultBinding),
  'rbac.authorization.k8s.io/ClusterRoleBinding': defaulter(defaultBinding),
  // Autoscalers are stored as v2; v1 is a view of it.
  'autoscaling/v2/HorizontalPodAutoscaler': defaulter(defaultHorizontalPodAutoscaler),
  'policy/PodDisruptionBudget': withStatus(disruptionStatus),
  'certificates.k8s.io/CertificateSigningRequest': withStatus({}),
  'scheduling.k8s.io/PriorityClass': defaulter(defaultPriorityClass),
  'storage.k8s.io/StorageClass': defaulter(defaultStorageClass),
  'storage.k8s.io/CSIDriver': defaulter(defaultCsiDriver),
  'flowcontrol.apiserver.k8s.io/FlowSchema': defaulter(defaultFlowSchema),
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration': defaulter(defaultPriorityLevel),
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration': defaulter((o: never) => defaultWebhooks(o, false)),
  'admissionregistration.k8s.io/MutatingWebhookConfiguration': defaulter((o: never) => defaultWebhooks(o, true)),
  'apiregistration.k8s.io/APIService': defaulter(defaultApiService),
  'apiextensions.k8s.io/CustomResourceDefinition': defaulter(defaultCustomResourceDefinition),
};

/** Fills in absent fields in place. The object's types were checked against the schema before. */
export const applyDefaults: ApplyDefaults = (resource: Resource, object: KubeObject) => {
  const { group, version, kind } = resource;
  const apply = defaulters[`${group}/${kind}`] ?? defaulters[`${group}/${version}/${kind}`];
  apply?.(object);
};
