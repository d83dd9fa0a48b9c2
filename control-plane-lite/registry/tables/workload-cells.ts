// Rows of apps, batch, autoscaling and policy kinds.
import type {
  ControllerRevision,
  DaemonSet,
  Deployment,
  ReplicaSet,
  StatefulSet,
} from '#kube/api/generated/apps-v1.ts';
import type { HorizontalPodAutoscaler as HorizontalPodAutoscalerV1 } from '#kube/api/generated/autoscaling-v1.ts';
import type { HorizontalPodAutoscaler, MetricSpec, MetricStatus } from '#kube/api/generated/autoscaling-v2.ts';
import type { CronJob, Job } from '#kube/api/generated/batch-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { age, containerCells, humanDuration, labelSet, orNone, selectorCell } from './cell-format.ts';

export function deploymentCells({ metadata, spec, status }: Deployment, nowMs: number): unknown[] {
  return [
    metadata.name,
    `${status?.readyReplicas ?? 0}/${spec.replicas ?? 0}`,
    `${status?.updatedReplicas ?? 0}`,
    `${status?.availableReplicas ?? 0}`,
    age(metadata.creationTimestamp, nowMs),
    ...containerCells(spec.template.spec),
    selectorCell(spec.selector),
  ];
}

export function replicaSetCells({ metadata, spec, status }: ReplicaSet, nowMs: number): unknown[] {
  return [
    metadata.name,
    spec.replicas ?? 0,
    status?.replicas ?? 0,
    status?.readyReplicas ?? 0,
    age(metadata.creationTimestamp, nowMs),
    ...containerCells(spec.template?.spec),
    selectorCell(spec.selector),
  ];
}

export function statefulSetCells({ metadata, spec, status }: StatefulSet, nowMs: number): unknown[] {
  const ready = `${status?.readyReplicas ?? 0}/${spec.replicas ?? 0}`;
  return [metadata.name, ready, age(metadata.creationTimestamp, nowMs), ...containerCells(spec.template.spec)];
}

export function daemonSetCells({ metadata, spec, status }: DaemonSet, nowMs: number): unknown[] {
  return [
    metadata.name,
    status?.desiredNumberScheduled ?? 0,
    status?.currentNumberScheduled ?? 0,
    status?.numberReady ?? 0,
    status?.updatedNumberScheduled ?? 0,
    status?.numberAvailable ?? 0,
    labelSet(spec.template.spec?.nodeSelector),
    age(metadata.creationTimestamp, nowMs),
    ...containerCells(spec.template.spec),
    selectorCell(spec.selector),
  ];
}

export function controllerRevisionCells(revision: ControllerRevision, nowMs: number): unknown[] {
  const { metadata } = revision;
  const owner = metadata.ownerReferences?.find((reference) => reference.controller === true);
  const group = owner?.apiVersion.includes('/') ? `.${owner.apiVersion.split('/')[0]}` : '';
  const controller = owner === undefined ? '<none>' : `${owner.kind.toLowerCase()}${group}/${owner.name}`;
  return [metadata.name, controller, `${revision.revision}`, age(metadata.creationTimestamp, nowMs)];
}

function jobStatus(job: Job): string {
  const holds = (type: string) => job.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;
  if (holds('Complete')) return 'Complete';
  if (holds('Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp !== undefined) return 'Terminating';
  for (const type of ['Suspended', 'FailureTarget', 'SuccessCriteriaMet']) if (holds(type)) return type;
  return 'Running';
}

function jobCompletions({ spec, status }: Job): string {
  const succeeded = status?.succeeded ?? 0;
  if (spec.completions !== undefined) return `${succeeded}/${spec.completions}`;
  const parallelism = spec.parallelism ?? 0;
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function jobDuration({ status }: Job, nowMs: number): string {
  if (status?.startTime === undefined) return '';
  const end = status.completionTime === undefined ? nowMs : Date.parse(status.completionTime);
  return humanDuration(end - Date.parse(status.startTime));
}

export function jobCells(job: Job, nowMs: number): unknown[] {
  return [
    job.metadata.name,
    jobStatus(job),
    jobCompletions(job),
    jobDuration(job, nowMs),
    age(job.metadata.creationTimestamp, nowMs),
    ...containerCells(job.spec.template.spec),
    selectorCell(job.spec.selector),
  ];
}

export function cronJobCells({ metadata, spec, status }: CronJob, nowMs: number): unknown[] {
  const last = status?.lastScheduleTime;
  return [
    metadata.name,
    spec.schedule,
    orNone(spec.timeZone),
    spec.suspend ?? false,
    status?.active?.length ?? 0,
    last === undefined ? '<none>' : age(last, nowMs),
    age(metadata.creationTimestamp, nowMs),
    ...containerCells(spec.jobTemplate.spec?.template.spec),
    selectorCell(spec.jobTemplate.spec?.selector),
  ];
}

function metricTarget(metric: MetricSpec, current: MetricStatus | undefined): string {
  const source = metric.resource ?? metric.containerResource ?? metric.pods ?? metric.object ?? metric.external;
  const now = current?.resource ?? current?.containerResource ?? current?.pods ?? current?.object ?? current?.external;
  const { target } = source ?? {};
  if (target?.averageUtilization !== undefined) {
    const percent = now?.current.averageUtilization;
    const label = metric.resource?.name ?? metric.containerResource?.name ?? '';
    return `${label}: ${percent === undefined ? '<unknown>' : `${percent}%`}/${target.averageUtilization}%`;
  }
  const wanted = target?.averageValue ?? target?.value ?? '<auto>';
  const suffix = target?.averageValue !== undefined && (metric.object ?? metric.external) ? ' (avg)' : '';
  return `${now?.current.averageValue ?? now?.current.value ?? '<unknown>'}/${wanted}${suffix}`;
}

export function horizontalPodAutoscalerCells(autoscaler: HorizontalPodAutoscaler, nowMs: number): unknown[] {
  const { metadata, spec, status } = autoscaler;
  const shown = (spec.metrics ?? []).slice(0, 2).map((m, i) => metricTarget(m, status?.currentMetrics?.[i]));
  const more = (spec.metrics ?? []).length - shown.length;
  return [
    metadata.name,
    `${spec.scaleTargetRef.kind}/${spec.scaleTargetRef.name}`,
    shown.length === 0 ? '<none>' : `${shown.join(', ')}${more > 0 ? ` + ${more} more...` : ''}`,
    spec.minReplicas === undefined ? '<unset>' : `${spec.minReplicas}`,
    spec.maxReplicas,
    status?.currentReplicas ?? 0,
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function horizontalPodAutoscalerV1Cells(autoscaler: HorizontalPodAutoscalerV1, nowMs: number): unknown[] {
  const { metadata, spec, status } = autoscaler;
  const current = status?.currentCPUUtilizationPercentage;
  const target = spec.targetCPUUtilizationPercentage;
  const text = `cpu: ${current === undefined ? '<unknown>' : `${current}%`}/${target}%`;
  return [
    metadata.name,
    `${spec.scaleTargetRef.kind}/${spec.scaleTargetRef.name}`,
    target === undefined ? '<none>' : text,
    spec.minReplicas === undefined ? '<unset>' : `${spec.minReplicas}`,
    spec.maxReplicas,
    status?.currentReplicas ?? 0,
    age(metadata.creationTimestamp, nowMs),
  ];
}

export function podDisruptionBudgetCells({ metadata, spec, status }: PodDisruptionBudget, nowMs: number): unknown[] {
  const bound = (value: number | string | undefined) => (value === undefined ? 'N/A' : `${value}`);
  return [
    metadata.name,
    bound(spec.minAvailable),
    bound(spec.maxUnavailable),
    status?.disruptionsAllowed ?? 0,
    age(metadata.creationTimestamp, nowMs),
  ];
}
