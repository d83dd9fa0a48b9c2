// Small API objects for tests: valid where it matters, with only what the test names.
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { Job, JobSpec, JobStatus } from '#kube/api/generated/batch-v1.ts';
import type { Node, Pod, PodSpec, PodStatus, Service, ServiceSpec } from '#kube/api/generated/core-v1.ts';
import type { ObjectMeta } from '#kube/api/generated/meta-v1.ts';

let uids = 0;

function meta(name: string, metadata: ObjectMeta = {}): ObjectMeta & { name: string } {
  uids += 1;
  return { namespace: 'default', uid: `uid-${uids}`, resourceVersion: '1', ...metadata, name };
}

export interface PodFields {
  metadata?: ObjectMeta;
  spec?: Partial<PodSpec>;
  status?: PodStatus;
}

export function pod(name: string, { metadata, spec, status }: PodFields = {}): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta(name, metadata),
    spec: { containers: [{ name: 'app', image: 'app' }], ...spec },
    status: status ?? {},
  };
}

/** A pod that asks for cpu and memory. */
export function requestingPod(name: string, cpu: string, memory: string, fields: PodFields = {}): Pod {
  const containers = [{ name: 'app', image: 'app', resources: { requests: { cpu, memory } } }];
  return pod(name, { ...fields, spec: { containers, ...fields.spec } });
}

/** A running pod with an address; ready since long ago unless told otherwise. */
export function runningPod(name: string, ip: string, ready: boolean, fields: PodFields = {}): Pod {
  const condition = { type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2025-01-01T00:00:00Z' };
  const status = { phase: 'Running', podIP: ip, podIPs: [{ ip }], conditions: [condition], ...fields.status };
  return pod(name, { ...fields, status });
}

export function node(
  name: string,
  fields: {
    labels?: Record<string, string>;
    spec?: Node['spec'];
    allocatable?: Record<string, string>;
    status?: Node['status'];
  } = {},
): Node {
  const { labels, spec, status } = fields;
  const allocatable = fields.allocatable ?? { cpu: '4', memory: '8Gi', pods: '10' };
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: { ...meta(name, { labels: { 'kubernetes.io/hostname': name, ...labels } }), namespace: undefined },
    spec: spec ?? {},
    status: { allocatable, ...status },
  };
}

export function service(name: string, spec: ServiceSpec, metadata?: ObjectMeta): Service {
  return { apiVersion: 'v1', kind: 'Service', metadata: meta(name, metadata), spec };
}

export function job(name: string, spec: Partial<JobSpec> = {}, status: JobStatus = {}): Job {
  const template = { spec: { restartPolicy: 'Never', containers: [{ name: 'app', image: 'app' }] } };
  return {
    apiVersion: 'batch/v1',
    kind: 'Job',
    metadata: meta(name, { generation: 1 }),
    spec: { parallelism: 1, completions: 1, backoffLimit: 6, template, ...spec },
    status,
  };
}

export function deployment(
  name: string,
  spec: Partial<Deployment['spec']> = {},
  status: Deployment['status'] = {},
): Deployment {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: meta(name, { generation: 1 }),
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
      progressDeadlineSeconds: 600,
      revisionHistoryLimit: 10,
      ...spec,
    },
    status,
  };
}

/** A replica set of the deployment with the image given; all its pods available unless told otherwise. */
export function replicaSetOf(
  owner: Deployment,
  image: string,
  replicas: number,
  fields: { available?: number; created?: string; annotations?: Record<string, string> } = {},
): ReplicaSet {
  const hash = image.replace(/\W/g, '');
  const labels = { ...owner.spec.template.metadata?.labels, 'pod-template-hash': hash };
  const { available = replicas, created = '2026-01-01T00:00:00Z', annotations = {} } = fields;
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: meta(`${owner.metadata.name}-${hash}`, {
      labels,
      annotations,
      creationTimestamp: created,
      generation: 1,
    }),
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: 'app', image }] } },
    },
    status: { replicas, readyReplicas: available, availableReplicas: available, observedGeneration: 1 },
  };
}

export function daemonSet(
  name: string,
  spec: Partial<DaemonSet['spec']> = {},
  status?: DaemonSet['status'],
): DaemonSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: meta(name, { generation: 1 }),
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      ...spec,
    },
    ...(status === undefined ? {} : { status }),
  };
}

export function statefulSet(
  name: string,
  spec: Partial<StatefulSet['spec']> = {},
  status?: StatefulSet['status'],
): StatefulSet {
  return {
    apiVersion: 'apps/v1',
    kind: 'StatefulSet',
    metadata: meta(name, { generation: 1 }),
    spec: {
      replicas: 3,
      serviceName: name,
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: { containers: [{ name: 'app', image: 'app:1' }] } },
      ...spec,
    },
    ...(status === undefined ? {} : { status }),
  };
}
