// Defaults of apps/v1 and batch/v1 workloads and of replication controllers.
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { CronJob, Job, JobSpec } from '#kube/api/generated/batch-v1.ts';
import type { ReplicationController } from '#kube/api/generated/core-v1.ts';
import { defaultPodTemplate } from './pod-defaults.ts';
import { defaultClaim } from './volume-defaults.ts';

const maxInt32 = 2 ** 31 - 1;

export function defaultReplicationController(controller: ReplicationController): void {
  const { spec } = controller;
  if (spec.template !== undefined) {
    defaultPodTemplate(spec.template);
    const labels = spec.template.metadata?.labels;
    if (labels !== undefined) {
      if (Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
      if (Object.keys(controller.metadata.labels ?? {}).length === 0) controller.metadata.labels = { ...labels };
    }
  }
  spec.replicas ??= 1;
  controller.status ??= { replicas: 0 };
}

export function defaultReplicaSet(set: ReplicaSet): void {
  set.spec.template ??= {};
  defaultPodTemplate(set.spec.template);
  set.spec.replicas ??= 1;
  set.status ??= { replicas: 0 };
}

export function defaultDeployment(deployment: Deployment): void {
  const { spec } = deployment;
  defaultPodTemplate(spec.template);
  spec.replicas ??= 1;
  spec.strategy ??= {};
  spec.strategy.type ||= 'RollingUpdate';
  if (spec.strategy.type === 'RollingUpdate') {
    spec.strategy.rollingUpdate ??= {};
    spec.strategy.rollingUpdate.maxUnavailable ??= '25%';
    spec.strategy.rollingUpdate.maxSurge ??= '25%';
  }
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  deployment.status ??= {};
}

export function defaultStatefulSet(set: StatefulSet): void {
  const { spec } = set;
  defaultPodTemplate(spec.template);
  for (const claim of spec.volumeClaimTemplates ?? []) {
    claim.kind = 'PersistentVolumeClaim';
    claim.apiVersion = 'v1';
    defaultClaim(claim);
  }
  spec.replicas ??= 1;
  spec.podManagementPolicy ||= 'OrderedReady';
  spec.updateStrategy ??= {};
  spec.updateStrategy.type ||= 'RollingUpdate';
  if (spec.updateStrategy.type === 'RollingUpdate') {
    spec.updateStrategy.rollingUpdate ??= {};
    spec.updateStrategy.rollingUpdate.partition ??= 0;
  }
  spec.revisionHistoryLimit ??= 10;
  spec.persistentVolumeClaimRetentionPolicy ??= {};
  spec.persistentVolumeClaimRetentionPolicy.whenDeleted ||= 'Retain';
  spec.persistentVolumeClaimRetentionPolicy.whenScaled ||= 'Retain';
  set.status ??= { replicas: 0, availableReplicas: 0 };
}

export function defaultDaemonSet(set: DaemonSet): void {
  const { spec } = set;
  defaultPodTemplate(spec.template);
  spec.updateStrategy ??= {};
  spec.updateStrategy.type ||= 'RollingUpdate';
  if (spec.updateStrategy.type === 'RollingUpdate') {
    spec.updateStrategy.rollingUpdate ??= {};
    spec.updateStrategy.rollingUpdate.maxUnavailable ??= 1;
    spec.updateStrategy.rollingUpdate.maxSurge ??= 0;
  }
  spec.revisionHistoryLimit ??= 10;
  set.status ??= { currentNumberScheduled: 0, numberMisscheduled: 0, desiredNumberScheduled: 0, numberReady: 0 };
}

function defaultFailurePolicy(policy: NonNullable<JobSpec['podFailurePolicy']>): void {
  for (const rule of policy.rules) {
    for (const pattern of rule.onPodConditions ?? []) pattern.status ??= 'True';
  }
}

export function defaultJob(job: Job): void {
  const { spec } = job;
  defaultPodTemplate(spec.template);
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : maxInt32;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy === undefined ? 'TerminatingOrFailed' : 'Failed';
  if (spec.podFailurePolicy !== undefined) defaultFailurePolicy(spec.podFailurePolicy);
  const labels = spec.template.metadata?.labels;
  if (labels !== undefined && Object.keys(job.metadata.labels ?? {}).length === 0) job.metadata.labels = { ...labels };
  job.status ??= {};
}

export function defaultCronJob(cronJob: CronJob): void {
  const { spec } = cronJob;
  spec.concurrencyPolicy ||= 'Allow';
  spec.suspend ??= false;
  spec.jobTemplate.metadata ??= {};
  if (spec.jobTemplate.spec !== undefined) defaultPodTemplate(spec.jobTemplate.spec.template);
  spec.successfulJobsHistoryLimit ??= 3;
  spec.failedJobsHistoryLimit ??= 1;
  cronJob.status ??= {};
}
