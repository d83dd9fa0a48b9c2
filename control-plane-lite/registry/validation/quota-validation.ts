// Rules of ResourceQuota and LimitRange, with the texts of the reference. (Kubernetes: pkg/apis/core/validation)
import type { LimitRange, LimitRangeItem, ResourceQuota } from '#kube/api/generated/core-v1.ts';
import { qualifiedNameFaults } from '#kube/api/names.ts';
import { compareQuantities, parseQuantity, QuantityError } from '#kube/api/quantity.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
} from '#kube/errors/field-error.ts';
import { immutableText, quantity, syntax } from './field-checks.ts';

const compute = new Set(['cpu', 'memory', 'limits.cpu', 'limits.memory', 'requests.cpu', 'requests.memory']);
const counted = new Set([
  ...['pods', 'services', 'replicationcontrollers', 'resourcequotas', 'secrets', 'configmaps'],
  ...['persistentvolumeclaims', 'services.nodeports', 'services.loadbalancers'],
]);
const standard = new Set([
  ...compute,
  ...counted,
  ...['ephemeral-storage', 'requests.storage', 'requests.ephemeral-storage', 'limits.ephemeral-storage'],
]);
const isHugePages = (name: string): boolean => /^(requests\.)?hugepages-/.test(name);
const isStandard = (name: string): boolean => standard.has(name) || isHugePages(name);
const podScopes = new Set([
  'Terminating',
  'NotTerminating',
  'NotBestEffort',
  'PriorityClass',
  'CrossNamespacePodAffinity',
]);
const scopes = new Set([...podScopes, 'BestEffort', 'VolumeAttributesClass']);
const opposites = [
  ['BestEffort', 'NotBestEffort'],
  ['NotTerminating', 'Terminating'],
] as const;

function resourceName(field: string, name: string): FieldError[] {
  const faults = syntax(field, name, qualifiedNameFaults);
  if (faults.length > 0 || name.includes('/') || isStandard(name)) return faults;
  return [invalidField(field, name, 'must be a standard resource type or fully qualified')];
}

function appliesTo(scope: string, resource: string): boolean {
  if (podScopes.has(scope)) return resource === 'pods' || compute.has(resource);
  return scope !== 'BestEffort' || resource === 'pods';
}

function validateHard(hard: Readonly<Record<string, string>>): FieldError[] {
  return Object.entries(hard).flatMap(([name, value]) => {
    const field = `spec.hard[${name}]`;
    const errors = resourceName(field, name);
    if (!name.includes('/') && !isStandard(name)) {
      errors.push(invalidField(field, name, 'must be a standard resource for quota'));
    }
    const amount = quantity(field, value);
    const isWhole = () => parseQuantity(value).nano % 1_000_000_000n === 0n;
    if (amount.length === 0 && (counted.has(name) || name.startsWith('count/')) && !isWhole()) {
      amount.push(invalidField(field, value, 'must be an integer'));
    }
    return [...errors, ...amount];
  });
}

function validateScopes(
  field: string,
  shown: unknown,
  names: readonly string[],
  hard: readonly string[],
): FieldError[] {
  const errors: FieldError[] = [];
  for (const scope of names) {
    if (!scopes.has(scope)) errors.push(invalidField(field, shown, 'unsupported scope'));
    for (const resource of hard) {
      if (isStandard(resource) && !appliesTo(scope, resource)) {
        errors.push(invalidField(field, shown, 'unsupported scope applied to resource'));
      }
    }
  }
  for (const pair of opposites) {
    if (pair.every((scope) => names.includes(scope))) errors.push(invalidField(field, shown, 'conflicting scopes'));
  }
  return errors;
}

const existsOnly =
  "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity";

function validateSelector({ spec }: ResourceQuota, hard: readonly string[]): FieldError[] {
  const expressions = spec?.scopeSelector?.matchExpressions ?? [];
  const field = 'spec.scopeSelector.matchExpressions';
  const names = expressions.map(({ scopeName }) => scopeName);
  const errors = expressions.flatMap(({ scopeName, operator, values = [] }) => {
    const found: FieldError[] = [];
    const isPlain = scopeName !== 'PriorityClass' && scopeName !== 'VolumeAttributesClass' && scopes.has(scopeName);
    if (isPlain && operator !== 'Exists') found.push(invalidField(`${field}.operator`, operator, existsOnly));
    if (operator === 'In' || operator === 'NotIn') {
      const text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
      if (values.length === 0) found.push(requiredField(`${field}.values`, text));
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      const text = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
      if (values.length > 0) found.push(invalidField(`${field}.values`, values, text));
    } else found.push(invalidField(`${field}.operator`, operator, 'not a valid selector operator'));
    return found;
  });
  return [...validateScopes(field, names, names, hard), ...errors];
}

export function validateResourceQuota(quota: ResourceQuota): FieldError[] {
  const { hard = {}, scopes: names = [] } = quota.spec ?? {};
  const resources = Object.keys(hard).sort();
  return [
    ...validateHard(hard),
    ...validateScopes('spec.scopes', names, names, resources),
    ...validateSelector(quota, resources),
  ];
}

export function validateResourceQuotaUpdate(quota: ResourceQuota, previous: ResourceQuota): FieldError[] {
  const now = quota.spec?.scopes ?? [];
  const before = previous.spec?.scopes ?? [];
  const isSame = now.every((scope) => before.includes(scope)) && before.every((scope) => now.includes(scope));
  return [...validateResourceQuota(quota), ...(isSame ? [] : [invalidField('spec.scopes', now, immutableText)])];
}

function exceeds(a: string | undefined, b: string | undefined): boolean {
  if (a === undefined || b === undefined) return false;
  try {
    return compareQuantities(parseQuantity(a), parseQuantity(b)) > 0;
  } catch (error) {
    if (error instanceof QuantityError) return false;
    throw error;
  }
}

function validateRatio(field: string, ratio: string | undefined, low?: string, high?: string): FieldError[] {
  if (ratio === undefined) return [];
  const errors: FieldError[] = [];
  if (exceeds('1', ratio)) errors.push(invalidField(field, ratio, `ratio ${ratio} is less than 1`));
  if (low === undefined || high === undefined) return errors;
  const smallest = Number(parseQuantity(low).nano);
  const limit = smallest === 0 ? Number.POSITIVE_INFINITY : Number(parseQuantity(high).nano) / smallest;
  if (Number(parseQuantity(ratio).nano) / 1e9 > limit) {
    errors.push(invalidField(field, ratio, `ratio ${ratio} is greater than max/min = ${limit.toFixed(6)}`));
  }
  return errors;
}

function validateLimits(at: string, name: string, item: LimitRangeItem): FieldError[] {
  const [min, max] = [item.min?.[name], item.max?.[name]];
  const [usual, request] = [item.default?.[name], item.defaultRequest?.[name]];
  const errors: FieldError[] = [];
  const check = (
    low: [string, string | undefined],
    high: [string, string | undefined],
    field: string,
    shown: unknown,
  ) => {
    if (!exceeds(low[1], high[1])) return;
    const text = `${low[0]} value ${low[1]} is greater than ${high[0]} value ${high[1]}`;
    errors.push(invalidField(`${at}.${field}[${name}]`, shown, text));
  };
  check(['min', min], ['max', max], 'min', min);
  check(['min', min], ['default request', request], 'defaultRequest', request);
  check(['default request', request], ['max', max], 'defaultRequest', request);
  check(['default request', request], ['default limit', usual], 'defaultRequest', request);
  check(['min', min], ['default', usual], 'default', min);
  check(['default', usual], ['max', max], 'default', max);
  return [
    ...errors,
    ...validateRatio(`${at}.maxLimitRequestRatio[${name}]`, item.maxLimitRequestRatio?.[name], min, max),
  ];
}

function validateItem(at: string, item: LimitRangeItem): FieldError[] {
  const errors: FieldError[] = item.type === '' ? [requiredField(`${at}.type`)] : [];
  if (item.type === 'Pod') {
    for (const key of ['default', 'defaultRequest'] as const) {
      if (Object.keys(item[key] ?? {}).length === 0) continue;
      errors.push(forbiddenField(`${at}.${key}`, "may not be specified when `type` is 'Pod'"));
    }
  }
  if (
    item.type === 'PersistentVolumeClaim' &&
    item.min?.['storage'] === undefined &&
    item.max?.['storage'] === undefined
  ) {
    const text = 'either minimum or maximum storage value is required, but neither was provided';
    errors.push(requiredField(`${at}.limits`, text));
  }
  const { min, max, defaultRequest, maxLimitRequestRatio } = item;
  const names = new Set(
    [min, max, item.default, defaultRequest, maxLimitRequestRatio].flatMap((all) => Object.keys(all ?? {})),
  );
  return [...errors, ...[...names].sort().flatMap((name) => validateLimits(at, name, item))];
}

export function validateLimitRange({ spec }: LimitRange): FieldError[] {
  const types = new Set<string>();
  return spec.limits.flatMap((item, index) => {
    const at = `spec.limits[${index}]`;
    const twice = types.has(item.type) ? [duplicateField(`${at}.type`, item.type)] : [];
    types.add(item.type);
    return [...twice, ...validateItem(at, item)];
  });
}
