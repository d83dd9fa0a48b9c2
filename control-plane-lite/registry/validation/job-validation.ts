// Rules of jobs: numbers, indexes, policies about failed pods and success, with the texts of the reference.
// (Kubernetes: pkg/apis/batch/validation)
import type {
  JobSpec,
  PodFailurePolicyOnExitCodesRequirement,
  PodFailurePolicyRule,
  SuccessPolicyRule,
} from '#kube/api/generated/batch-v1.ts';
import { qualifiedNameFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  tooLongField,
  tooManyField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { domainPrefixedPath, nonNegative, oneOf, positive, requiredOneOf, syntax } from './field-checks.ts';

const numbers = [
  ...['parallelism', 'completions', 'activeDeadlineSeconds', 'backoffLimit', 'ttlSecondsAfterFinished'],
  ...['backoffLimitPerIndex', 'maxFailedIndexes'],
] as const;
const maxIndexed = 100_000;
const maxManyIndexed = 10_000;
const maxRules = 20;
const maxExitCodes = 255;
const maxIndexesText = 65_536;
const maxManagedBy = 63;
const actions = ['Count', 'FailIndex', 'FailJob', 'Ignore'];
const quoted = (values: readonly string[]): string => values.map((value) => JSON.stringify(value)).join(' ');

function validateIndexed(spec: JobSpec): FieldError[] {
  const { completions, parallelism = 0, maxFailedIndexes, backoffLimitPerIndex } = spec;
  if (completions === undefined) return [requiredField('spec.completions', 'when completion mode is Indexed')];
  const errors: FieldError[] = [];
  const atMost = (field: string, value: number, limit: number, when: string) => {
    if (value > limit) errors.push(invalidField(field, value, `must be less than or equal to ${limit} ${when}`));
  };
  atMost('spec.parallelism', parallelism, maxIndexed, 'when completion mode is Indexed');
  if (maxFailedIndexes !== undefined) {
    if (maxFailedIndexes > completions) {
      errors.push(invalidField('spec.maxFailedIndexes', maxFailedIndexes, 'must be less than or equal to completions'));
    }
    atMost('spec.maxFailedIndexes', maxFailedIndexes, maxIndexed, 'when completion mode is Indexed');
  }
  if (completions <= maxIndexed || backoffLimitPerIndex === undefined) return errors;
  const many = `when completions are above ${maxIndexed} and used with backoff limit per index`;
  if (maxFailedIndexes === undefined) {
    errors.push(requiredField('spec.maxFailedIndexes', `must be specified when completions is above ${maxIndexed}`));
  } else atMost('spec.maxFailedIndexes', maxFailedIndexes, maxManyIndexed, many);
  atMost('spec.parallelism', parallelism, maxManyIndexed, many);
  return errors;
}

function validateExitCodes(
  at: string,
  { containerName, operator, values }: PodFailurePolicyOnExitCodesRequirement,
  containers: ReadonlySet<string>,
): FieldError[] {
  const errors: FieldError[] = [];
  if (!operator) errors.push(requiredField(`${at}.operator`, `valid values: [${quoted(['In', 'NotIn'])}]`));
  else errors.push(...oneOf(`${at}.operator`, operator, ['In', 'NotIn']));
  if (containerName !== undefined && !containers.has(containerName)) {
    const text = 'must be one of the container or initContainer names in the pod template';
    errors.push(invalidField(`${at}.containerName`, containerName, text));
  }
  const field = `${at}.values`;
  if (values.length === 0) errors.push(invalidField(field, values, 'at least one value is required'));
  if (values.length > maxExitCodes) errors.push(tooManyField(field, values.length, maxExitCodes));
  for (const [index, code] of values.entries()) {
    if (operator === 'In' && code === 0) {
      errors.push(invalidField(`${field}[${index}]`, code, 'must not be 0 for the In operator'));
    }
    if (values.indexOf(code) < index) errors.push(duplicateField(`${field}[${index}]`, code));
  }
  const isOrdered = values.every((code, index) => index === 0 || (values[index - 1] ?? code) <= code);
  return isOrdered ? errors : [...errors, invalidField(field, values, 'must be ordered')];
}

function validateFailureRule(
  at: string,
  rule: PodFailurePolicyRule,
  spec: JobSpec,
  containers: ReadonlySet<string>,
): FieldError[] {
  const { action, onExitCodes, onPodConditions = [] } = rule;
  const errors: FieldError[] = [];
  if (!action) errors.push(requiredField(`${at}.action`, `valid values: [${quoted(actions)}]`));
  else if (action === 'FailIndex' && spec.backoffLimitPerIndex === undefined) {
    errors.push(invalidField(`${at}.action`, action, 'requires the backoffLimitPerIndex to be set'));
  } else errors.push(...oneOf(`${at}.action`, action, actions));
  if (onExitCodes !== undefined) errors.push(...validateExitCodes(`${at}.onExitCodes`, onExitCodes, containers));
  if (onPodConditions.length > maxRules) {
    errors.push(tooManyField(`${at}.onPodConditions`, onPodConditions.length, maxRules));
  }
  for (const [index, { type, status }] of onPodConditions.entries()) {
    const place = `${at}.onPodConditions[${index}]`;
    errors.push(...syntax(`${place}.type`, type, qualifiedNameFaults));
    errors.push(...requiredOneOf(`${place}.status`, status, ['False', 'True', 'Unknown']));
  }
  const hasBoth = onExitCodes !== undefined && onPodConditions.length > 0;
  const hasNone = onExitCodes === undefined && onPodConditions.length === 0;
  if (hasBoth || hasNone) {
    const text = hasBoth
      ? 'specifying both OnExitCodes and OnPodConditions is not supported'
      : 'specifying one of OnExitCodes and OnPodConditions is required';
    errors.push(invalidField(at, '', text));
  }
  return errors;
}

function validateFailurePolicy(spec: JobSpec): FieldError[] {
  const { podFailurePolicy: policy, template } = spec;
  if (policy === undefined) return [];
  const { containers = [], initContainers = [], restartPolicy } = template.spec ?? {};
  const names = new Set([...containers, ...initContainers].map(({ name }) => name));
  const { rules } = policy;
  const field = 'spec.podFailurePolicy.rules';
  return [
    ...(rules.length > maxRules ? [tooManyField(field, rules.length, maxRules)] : []),
    ...rules.flatMap((rule, index) => validateFailureRule(`${field}[${index}]`, rule, spec, names)),
    ...(restartPolicy === 'Never'
      ? []
      : [
          invalidField(
            'spec.template.spec.restartPolicy',
            restartPolicy,
            'only "Never" is supported when podFailurePolicy is specified',
          ),
        ]),
  ];
}

/** How many indexes the text names; a text says what is wrong with it. */
function countIndexes(text: string, completions: number): number | string {
  let last = -1;
  let total = 0;
  for (const interval of text === '' ? [] : text.split(',')) {
    const limits = interval.split('-');
    if (limits.length > 2) {
      return `the fragment ${JSON.stringify(interval)} violates the requirement that an index interval can have at most two parts separated by '-'`;
    }
    const before = last;
    for (const limit of limits) {
      if (!/^\d+$/.test(limit)) return `cannot convert string to integer for index: ${JSON.stringify(limit)}`;
      const index = Number(limit);
      if (index >= completions) return `too large index: ${JSON.stringify(limit)}`;
      if (last >= index) return `non-increasing order, previous: ${last}, current: ${index}`;
      total += last === before ? 1 : index - last;
      last = index;
    }
  }
  return total;
}

function validateSuccessRule(at: string, rule: SuccessPolicyRule, completions: number): FieldError[] {
  const { succeededCount, succeededIndexes } = rule;
  const errors: FieldError[] = [];
  if (succeededCount === undefined && succeededIndexes === undefined) {
    const text = 'at least one of succeededCount or succeededIndexes must be specified';
    return [requiredField(at, text)];
  }
  let total = completions;
  if (succeededIndexes !== undefined) {
    const field = `${at}.succeededIndexes`;
    if (succeededIndexes.length > maxIndexesText) errors.push(tooLongField(field, maxIndexesText));
    const counted = countIndexes(succeededIndexes, completions);
    if (typeof counted === 'number') total = counted;
    else errors.push(invalidField(field, succeededIndexes, `error parsing succeededIndexes: ${counted}`));
  }
  if (succeededCount === undefined) return errors;
  const field = `${at}.succeededCount`;
  errors.push(...positive(field, succeededCount));
  const bounds: [number, string][] = [[completions, 'specified completions']];
  if (succeededIndexes !== undefined) bounds.push([total, 'indexes in the specified succeededIndexes field']);
  for (const [limit, of] of bounds) {
    if (succeededCount <= limit) continue;
    errors.push(invalidField(field, succeededCount, `must be less than or equal to ${limit} (the number of ${of})`));
  }
  return errors;
}

function validateSuccessPolicy({ successPolicy, completions = 0 }: JobSpec): FieldError[] {
  if (successPolicy === undefined) return [];
  const field = 'spec.successPolicy.rules';
  const { rules } = successPolicy;
  if (rules.length === 0) {
    return [requiredField(field, 'at least one rules must be specified when the successPolicy is specified')];
  }
  return [
    ...(rules.length > maxRules ? [tooManyField(field, rules.length, maxRules)] : []),
    ...rules.flatMap((rule, index) => validateSuccessRule(`${field}[${index}]`, rule, completions)),
  ];
}

function validateManager(manager: string | undefined): FieldError[] {
  if (manager === undefined) return [];
  const field = 'spec.managedBy';
  const errors = domainPrefixedPath(field, manager);
  return manager.length > maxManagedBy ? [...errors, tooLongField(field, maxManagedBy)] : errors;
}

/** Everything of a job but its template and selector. */
export function validateJobPolicies(spec: JobSpec): FieldError[] {
  const errors = numbers.flatMap((key) => nonNegative(`spec.${key}`, spec[key]));
  errors.push(...validateManager(spec.managedBy));
  errors.push(...oneOf('spec.completionMode', spec.completionMode, ['NonIndexed', 'Indexed']));
  const isIndexed = spec.completionMode === 'Indexed';
  if (isIndexed) errors.push(...validateIndexed(spec), ...validateSuccessPolicy(spec));
  else {
    for (const key of ['backoffLimitPerIndex', 'maxFailedIndexes', 'successPolicy'] as const) {
      if (spec[key] !== undefined)
        errors.push(invalidField(`spec.${key}`, spec[key], 'requires indexed completion mode'));
    }
  }
  if (spec.maxFailedIndexes !== undefined && spec.backoffLimitPerIndex === undefined) {
    errors.push(requiredField('spec.backoffLimitPerIndex', 'when maxFailedIndexes is specified'));
  }
  errors.push(...validateFailurePolicy(spec));
  const { podReplacementPolicy: replacement } = spec;
  const replacements = spec.podFailurePolicy === undefined ? ['Failed', 'TerminatingOrFailed'] : ['Failed'];
  if (replacement !== undefined && !replacements.includes(replacement)) {
    errors.push(unsupportedField('spec.podReplacementPolicy', replacement, replacements));
  }
  return errors;
}
