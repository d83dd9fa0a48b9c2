// Rules of deployments, replica sets, stateful and daemon sets, jobs and cron jobs.
import { CronPattern } from 'croner';
import type { DaemonSet, Deployment, ReplicaSet, StatefulSet } from '#kube/api/generated/apps-v1.ts';
import type { CronJob, Job, JobSpec } from '#kube/api/generated/batch-v1.ts';
import type { PodTemplateSpec, ReplicationController } from '#kube/api/generated/core-v1.ts';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { isPercent } from '#kube/api/int-or-string.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { intOrPercent, labelSelector, labels, nonNegative, oneOf, sameValue, unchanged } from './field-checks.ts';
import { validateJobPolicies } from './job-validation.ts';
import { validatePodSpec } from './pod-validation.ts';

const maxCronJobName = 52;

function isEmpty(selector: LabelSelector): boolean {
  return Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0;
}

/** A template's own rules; `restartPolicies` are those the workload can live with. */
function validateTemplate(template: PodTemplateSpec | undefined, restartPolicies: readonly string[]): FieldError[] {
  const field = 'spec.template';
  if (template?.spec === undefined) return [requiredField(field)];
  const errors = [
    ...labels(`${field}.labels`, template.metadata?.labels),
    ...validatePodSpec(`${field}.spec`, template.spec),
  ];
  const policy = template.spec.restartPolicy;
  if (policy !== undefined && ['Always', 'OnFailure', 'Never'].includes(policy) && !restartPolicies.includes(policy)) {
    errors.push(unsupportedField(`${field}.spec.restartPolicy`, policy, restartPolicies));
  }
  if ((template.spec.ephemeralContainers ?? []).length > 0) {
    errors.push(
      forbiddenField(`${field}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template'),
    );
  }
  return errors;
}

function validateSelectedTemplate(
  what: string,
  selector: LabelSelector | undefined,
  template: PodTemplateSpec | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  if (selector === undefined) errors.push(requiredField('spec.selector'));
  else {
    errors.push(...labelSelector('spec.selector', selector));
    if (isEmpty(selector))
      errors.push(invalidField('spec.selector', selector, `empty selector is invalid for ${what}`));
  }
  const templateLabels = template?.metadata?.labels;
  const matches =
    selector !== undefined &&
    !isEmpty(selector) &&
    errors.length === 0 &&
    labelSelectorMatches(selector, templateLabels);
  const knowable = selector === undefined || (!isEmpty(selector) && errors.length === 0);
  if (template !== undefined && knowable && !matches) {
    errors.push(
      invalidField(
        'spec.template.metadata.labels',
        templateLabels ?? null,
        '`selector` does not match template `labels`',
      ),
    );
  }
  return errors;
}

function noDeadline(kind: string, template: PodTemplateSpec | undefined): FieldError[] {
  if (template?.spec?.activeDeadlineSeconds === undefined) return [];
  return [
    forbiddenField('spec.template.spec.activeDeadlineSeconds', `activeDeadlineSeconds in ${kind} is not Supported`),
  ];
}

function amount(value: number | string | undefined): number {
  if (value === undefined) return 0;
  return typeof value === 'number' ? value : Number.parseInt(value, 10);
}

export function validateDeployment({ spec }: Deployment): FieldError[] {
  const errors = [
    ...nonNegative('spec.replicas', spec.replicas),
    ...validateSelectedTemplate('deployment', spec.selector, spec.template),
    ...validateTemplate(spec.template, ['Always']),
    ...noDeadline('ReplicaSet', spec.template),
  ];
  const { strategy } = spec;
  errors.push(...oneOf('spec.strategy.type', strategy?.type, ['Recreate', 'RollingUpdate']));
  if (strategy?.type === 'Recreate' && strategy.rollingUpdate !== undefined) {
    errors.push(
      forbiddenField('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'"),
    );
  }
  if (strategy?.type === 'RollingUpdate') {
    const at = 'spec.strategy.rollingUpdate';
    const { maxUnavailable, maxSurge } = strategy.rollingUpdate ?? {};
    errors.push(...intOrPercent(`${at}.maxUnavailable`, maxUnavailable), ...intOrPercent(`${at}.maxSurge`, maxSurge));
    if (amount(maxUnavailable) === 0 && amount(maxSurge) === 0) {
      errors.push(invalidField(`${at}.maxUnavailable`, maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
    }
    if (maxUnavailable !== undefined && isPercent(maxUnavailable) && amount(maxUnavailable) > 100) {
      errors.push(invalidField(`${at}.maxUnavailable`, maxUnavailable, 'must not be greater than 100%'));
    }
  }
  errors.push(...nonNegative('spec.minReadySeconds', spec.minReadySeconds));
  errors.push(...nonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit));
  const deadline = spec.progressDeadlineSeconds;
  if (deadline !== undefined) {
    errors.push(...nonNegative('spec.progressDeadlineSeconds', deadline));
    if (deadline <= (spec.minReadySeconds ?? 0)) {
      errors.push(invalidField('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds'));
    }
  }
  return errors;
}

export function validateDeploymentUpdate(deployment: Deployment, previous: Deployment): FieldError[] {
  return [
    ...validateDeployment(deployment),
    ...unchanged('spec.selector', deployment.spec.selector, previous.spec.selector),
  ];
}

export function validateReplicaSet({ spec }: ReplicaSet): FieldError[] {
  return [
    ...nonNegative('spec.replicas', spec.replicas),
    ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...validateSelectedTemplate('deployment', spec.selector, spec.template),
    ...validateTemplate(spec.template, ['Always']),
    ...noDeadline('ReplicaSet', spec.template),
  ];
}

export function validateReplicaSetUpdate(set: ReplicaSet, previous: ReplicaSet): FieldError[] {
  return [...validateReplicaSet(set), ...unchanged('spec.selector', set.spec.selector, previous.spec.selector)];
}

export function validateReplicationController({ spec }: ReplicationController): FieldError[] {
  const errors = [...nonNegative('spec.minReadySeconds', spec.minReadySeconds)];
  if (Object.keys(spec.selector ?? {}).length === 0) errors.push(requiredField('spec.selector'));
  errors.push(...nonNegative('spec.replicas', spec.replicas));
  if (spec.template === undefined) return [...errors, requiredField('spec.template')];
  const templateLabels = spec.template.metadata?.labels;
  if (!labelSelectorMatches({ matchLabels: spec.selector ?? {} }, templateLabels)) {
    errors.push(
      invalidField(
        'spec.template.metadata.labels',
        templateLabels ?? null,
        '`selector` does not match template `labels`',
      ),
    );
  }
  return [
    ...errors,
    ...validateTemplate(spec.template, ['Always']),
    ...noDeadline('ReplicationController', spec.template),
  ];
}

export function validateStatefulSet({ spec }: StatefulSet): FieldError[] {
  const { updateStrategy } = spec;
  const errors = oneOf('spec.podManagementPolicy', spec.podManagementPolicy, ['OrderedReady', 'Parallel']);
  errors.push(...oneOf('spec.updateStrategy', updateStrategy?.type, ['OnDelete', 'RollingUpdate']));
  if (updateStrategy?.type === 'OnDelete' && updateStrategy.rollingUpdate !== undefined) {
    const text = `only allowed for updateStrategy 'RollingUpdate'`;
    errors.push(invalidField('spec.updateStrategy.rollingUpdate', updateStrategy.rollingUpdate, text));
  }
  errors.push(...nonNegative('spec.updateStrategy.rollingUpdate.partition', updateStrategy?.rollingUpdate?.partition));
  errors.push(
    ...nonNegative('spec.replicas', spec.replicas),
    ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
  );
  errors.push(...nonNegative('spec.ordinals.start', spec.ordinals?.start));
  for (const key of ['whenDeleted', 'whenScaled'] as const) {
    const field = `spec.persistentVolumeClaimRetentionPolicy.${key}`;
    errors.push(...oneOf(field, spec.persistentVolumeClaimRetentionPolicy?.[key], ['Retain', 'Delete']));
  }
  const claims = (spec.volumeClaimTemplates ?? []).map((claim) => ({ name: claim.metadata.name ?? '', emptyDir: {} }));
  const podSpec = spec.template.spec;
  // Mounts may name claim templates, which become volumes of the pods.
  const template = podSpec && {
    ...spec.template,
    spec: { ...podSpec, volumes: [...(podSpec.volumes ?? []), ...claims] },
  };
  return [
    ...errors,
    ...validateSelectedTemplate('statefulset', spec.selector, spec.template),
    ...validateTemplate(template, ['Always']),
    ...noDeadline('StatefulSet', spec.template),
  ];
}

const mutableStatefulSetFields = new Set([
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
]);

export function validateStatefulSetUpdate(set: StatefulSet, previous: StatefulSet): FieldError[] {
  const errors = validateStatefulSet(set);
  const fixed = (spec: StatefulSet['spec']) =>
    Object.fromEntries(Object.entries(spec).filter(([key]) => !mutableStatefulSetFields.has(key)));
  if (!sameValue(fixed(set.spec), fixed(previous.spec))) {
    const text =
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    errors.push(forbiddenField('spec', text));
  }
  return errors;
}

export function validateDaemonSet({ spec }: DaemonSet): FieldError[] {
  const errors = [
    ...validateSelectedTemplate('daemonset', spec.selector, spec.template),
    ...validateTemplate(spec.template, ['Always']),
    ...noDeadline('DaemonSet', spec.template),
    ...nonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...oneOf('spec.updateStrategy.type', spec.updateStrategy?.type, ['RollingUpdate', 'OnDelete']),
  ];
  if (spec.updateStrategy?.type === 'RollingUpdate') {
    const at = 'spec.updateStrategy.rollingUpdate';
    const { maxUnavailable, maxSurge } = spec.updateStrategy.rollingUpdate ?? {};
    errors.push(...intOrPercent(`${at}.maxUnavailable`, maxUnavailable), ...intOrPercent(`${at}.maxSurge`, maxSurge));
    if (amount(maxUnavailable) > 0 && amount(maxSurge) > 0) {
      errors.push(invalidField(`${at}.maxSurge`, maxSurge, 'may not be set when maxUnavailable is non-zero'));
    } else if (amount(maxUnavailable) === 0 && amount(maxSurge) === 0) {
      errors.push(requiredField(`${at}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
    }
  }
  return [...errors, ...nonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit)];
}

export function validateDaemonSetUpdate(set: DaemonSet, previous: DaemonSet): FieldError[] {
  return [...validateDaemonSet(set), ...unchanged('spec.selector', set.spec.selector, previous.spec.selector)];
}

function validateJobSpec(spec: JobSpec): FieldError[] {
  const errors = validateJobPolicies(spec);
  const policy = spec.template.spec?.restartPolicy;
  if (policy === 'Always') {
    errors.push(requiredField('spec.template.spec.restartPolicy', 'valid values: "OnFailure", "Never"'));
  }
  return [...errors, ...validateTemplate(spec.template, ['OnFailure', 'Never', 'Always'])];
}

export function validateJob({ spec }: Job): FieldError[] {
  const errors = validateJobSpec(spec);
  if (spec.selector === undefined) errors.push(requiredField('spec.selector'));
  else if (!labelSelectorMatches(spec.selector, spec.template.metadata?.labels)) {
    const given = spec.template.metadata?.labels ?? null;
    errors.push(invalidField('spec.template.metadata.labels', given, '`selector` does not match template `labels`'));
  }
  return errors;
}

/** The template's scheduling directives may change while the job is suspended and has not started. */
export function validateJobUpdate(job: Job, previous: Job): FieldError[] {
  const errors = validateJob(job);
  if (job.spec.completionMode !== 'Indexed' || job.spec.completions !== job.spec.parallelism) {
    errors.push(...unchanged('spec.completions', job.spec.completions, previous.spec.completions));
  }
  errors.push(...unchanged('spec.selector', job.spec.selector, previous.spec.selector));
  const mayPlace = previous.spec.suspend === true && previous.status?.startTime === undefined;
  const fixed = ({ spec, metadata }: PodTemplateSpec) => {
    if (!mayPlace || spec === undefined) return { spec, metadata };
    const { nodeSelector, affinity, tolerations, schedulingGates, ...rest } = spec;
    return { spec: rest };
  };
  if (!sameValue(fixed(job.spec.template), fixed(previous.spec.template))) {
    errors.push(invalidField('spec.template', job.spec.template, 'field is immutable'));
  }
  for (const key of [
    'completionMode',
    'podFailurePolicy',
    'backoffLimitPerIndex',
    'managedBy',
    'successPolicy',
  ] as const) {
    errors.push(...unchanged(`spec.${key}`, job.spec[key], previous.spec[key]));
  }
  return errors;
}

function validateSchedule(schedule: string): FieldError[] {
  const field = 'spec.schedule';
  if (schedule === '') return [requiredField(field)];
  if (schedule.startsWith('@')) return [];
  const parts = schedule.trim().split(/\s+/);
  if (/TZ/.test(schedule)) {
    return [invalidField(field, schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead')];
  }
  if (parts.length !== 5) {
    return [invalidField(field, schedule, `expected exactly 5 fields, found ${parts.length}: [${parts.join(' ')}]`)];
  }
  try {
    new CronPattern(schedule);
    return [];
  } catch (error) {
    return [invalidField(field, schedule, (error as Error).message)];
  }
}

export function validateCronJob({ metadata, spec }: CronJob): FieldError[] {
  const errors = validateSchedule(spec.schedule);
  errors.push(...nonNegative('spec.startingDeadlineSeconds', spec.startingDeadlineSeconds));
  errors.push(...oneOf('spec.concurrencyPolicy', spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']));
  if (spec.timeZone !== undefined && !isTimeZone(spec.timeZone)) {
    errors.push(invalidField('spec.timeZone', spec.timeZone, `unknown time zone ${spec.timeZone}`));
  }
  if (spec.jobTemplate.spec !== undefined) {
    for (const error of validateJobSpec(spec.jobTemplate.spec)) {
      errors.push({ ...error, field: error.field.replace(/^spec/, 'spec.jobTemplate.spec') });
    }
  }
  errors.push(...nonNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit));
  errors.push(...nonNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit));
  if (metadata.name.length > maxCronJobName) {
    errors.push(invalidField('metadata.name', metadata.name, `must be no more than ${maxCronJobName} characters`));
  }
  return errors;
}

function isTimeZone(name: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: name });
    return name !== '';
  } catch {
    return false;
  }
}
