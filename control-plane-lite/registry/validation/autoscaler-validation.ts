// Rules of autoscalers: bounds, target, metrics and behaviour, with the texts of the reference.
// (Kubernetes: pkg/apis/autoscaling/validation)
import type {
  HorizontalPodAutoscaler,
  HPAScalingRules,
  MetricIdentifier,
  MetricSpec,
  MetricTarget,
} from '#kube/api/generated/autoscaling-v2.ts';
import { pathSegmentFaults } from '#kube/api/names.ts';
import { compareQuantities, parseQuantity, QuantityError, zeroQuantity } from '#kube/api/quantity.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { oneOf, requiredSyntax } from './field-checks.ts';

const maxPeriodSeconds = 1800;
const maxWindowSeconds = 3600;
const metricTypes = ['ContainerResource', 'External', 'Object', 'Pods', 'Resource'];
const targetTypes = ['Utilization', 'Value', 'AverageValue'];

/** Greater than nothing; what is no quantity was refused before. */
function isPositive(value: string): boolean {
  try {
    return compareQuantities(parseQuantity(value), zeroQuantity) > 0;
  } catch (error) {
    if (error instanceof QuantityError) return false;
    throw error;
  }
}

function target(at: string, { type, value, averageValue, averageUtilization }: Partial<MetricTarget>): FieldError[] {
  const errors: FieldError[] = [];
  if (type === undefined || type === '') errors.push(requiredField(`${at}.type`, 'must specify a metric target type'));
  if (type === undefined || !targetTypes.includes(type)) {
    errors.push(invalidField(`${at}.type`, type ?? '', 'must be either Utilization, Value, or AverageValue'));
  }
  for (const [name, amount] of Object.entries({ value, averageValue })) {
    if (amount !== undefined && !isPositive(amount))
      errors.push(invalidField(`${at}.${name}`, amount, 'must be positive'));
  }
  if (averageUtilization !== undefined && averageUtilization < 1) {
    errors.push(invalidField(`${at}.averageUtilization`, averageUtilization, 'must be greater than 0'));
  }
  return errors;
}

function identifier(at: string, { name }: Partial<MetricIdentifier>): FieldError[] {
  if (name === undefined || name === '') return [requiredField(`${at}.name`, 'must specify a metric name')];
  return pathSegmentFaults(name).map((fault) => invalidField(`${at}.name`, name, fault));
}

function reference(
  at: string,
  { kind, name, apiVersion = '' }: { kind: string; name: string; apiVersion?: string | undefined },
): FieldError[] {
  return [
    ...requiredSyntax(`${at}.kind`, kind, pathSegmentFaults),
    ...requiredSyntax(`${at}.name`, name, pathSegmentFaults),
    ...(apiVersion === '' && kind !== 'ReplicationController'
      ? [invalidField(`${at}.apiVersion`, apiVersion, 'apiVersion must specify API group')]
      : []),
  ];
}

/** A resource's target is a share of what is requested, or a value. */
function resource(at: string, of: Partial<MetricTarget> | undefined): FieldError[] {
  const { averageUtilization, averageValue } = of ?? {};
  return [
    ...target(`${at}.target`, of ?? {}),
    ...(averageUtilization === undefined && averageValue === undefined
      ? [requiredField(`${at}.target.averageUtilization`, 'must set either a target raw value or a target utilization')]
      : []),
    ...(averageUtilization !== undefined && averageValue !== undefined
      ? [forbiddenField(`${at}.target.averageValue`, 'may not set both a target raw value and a target utilization')]
      : []),
  ];
}

/** What is wrong with one source of a metric, by the name of its field. */
const sources: Readonly<Record<string, (at: string, spec: MetricSpec) => FieldError[] | undefined>> = {
  object: (at, { object }) =>
    object && [
      ...requiredSyntax(`${at}.describedObject.kind`, object.describedObject.kind, pathSegmentFaults),
      ...requiredSyntax(`${at}.describedObject.name`, object.describedObject.name, pathSegmentFaults),
      ...identifier(`${at}.metric`, object.metric),
      ...target(`${at}.target`, object.target),
      ...(object.target.value === undefined && object.target.averageValue === undefined
        ? [requiredField(`${at}.target.averageValue`, 'must set either a target value or averageValue')]
        : []),
    ],
  external: (at, { external }) =>
    external && [
      ...identifier(`${at}.metric`, external.metric),
      ...target(`${at}.target`, external.target),
      ...(external.target.value === undefined && external.target.averageValue === undefined
        ? [requiredField(`${at}.target.averageValue`, 'must set either a target value for metric or a per-pod target')]
        : []),
      ...(external.target.value !== undefined && external.target.averageValue !== undefined
        ? [forbiddenField(`${at}.target.value`, 'may not set both a target value for metric and a per-pod target')]
        : []),
    ],
  pods: (at, { pods }) =>
    pods && [
      ...identifier(`${at}.metric`, pods.metric),
      ...target(`${at}.target`, pods.target),
      ...(pods.target.averageValue === undefined
        ? [requiredField(`${at}.target.averageValue`, 'must specify a positive target averageValue')]
        : []),
    ],
  resource: (at, { resource: of }) =>
    of && [
      ...(of.name ? [] : [requiredField(`${at}.name`, 'must specify a resource name')]),
      ...resource(at, of.target),
    ],
  containerResource: (at, { containerResource: of }) =>
    of && [
      ...(of.name ? [] : [requiredField(`${at}.name`, 'must specify a resource name')]),
      ...(of.container ? [] : [requiredField(`${at}.container`, 'must specify a container')]),
      ...resource(at, of.target),
    ],
};

function metric(at: string, spec: MetricSpec): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.type === '') errors.push(requiredField(`${at}.type`, 'must specify a metric source type'));
  if (!metricTypes.includes(spec.type)) errors.push(unsupportedField(`${at}.type`, spec.type, metricTypes));
  const present: string[] = [];
  for (const [name, check] of Object.entries(sources)) {
    const found = check(`${at}.${name}`, spec);
    if (found === undefined) continue;
    present.push(name);
    if (present.length === 1) errors.push(...found);
  }
  const expected = `${spec.type.charAt(0).toLowerCase()}${spec.type.slice(1)}`;
  if (metricTypes.includes(spec.type) && !present.includes(expected)) {
    errors.push(requiredField(`${at}.${expected}`, 'must populate information for the given metric source'));
  }
  const others = present.length > 1 ? present.filter((name) => name !== expected) : [];
  return [
    ...errors,
    ...others.map((name) => forbiddenField(`${at}.${name}`, 'must populate the given metric source only')),
  ];
}

function scalingRules(at: string, rules: HPAScalingRules | undefined): FieldError[] {
  if (rules === undefined) return [];
  const { stabilizationWindowSeconds: window, selectPolicy, policies = [] } = rules;
  const errors: FieldError[] = [];
  const windowAt = `${at}.stabilizationWindowSeconds`;
  if (window !== undefined && window < 0)
    errors.push(invalidField(windowAt, window, 'must be greater than or equal to zero'));
  if (window !== undefined && window > maxWindowSeconds) {
    errors.push(invalidField(windowAt, window, `must be less than or equal to ${maxWindowSeconds}`));
  }
  errors.push(...oneOf(`${at}.selectPolicy`, selectPolicy, ['Disabled', 'Max', 'Min']));
  if (policies.length === 0) errors.push(requiredField(`${at}.policies`, 'must specify at least one Policy'));
  for (const [index, { type, value, periodSeconds }] of policies.entries()) {
    const place = `${at}.policies[${index}]`;
    errors.push(...oneOf(`${place}.type`, type, ['Percent', 'Pods']));
    for (const [name, amount] of Object.entries({ value, periodSeconds })) {
      if (amount <= 0) errors.push(invalidField(`${place}.${name}`, amount, 'must be greater than zero'));
    }
    if (periodSeconds > maxPeriodSeconds) {
      const text = `must be less than or equal to ${maxPeriodSeconds}`;
      errors.push(invalidField(`${place}.periodSeconds`, periodSeconds, text));
    }
  }
  return errors;
}

export function validateAutoscaler({ spec }: HorizontalPodAutoscaler): FieldError[] {
  const errors: FieldError[] = [];
  const min = spec.minReplicas ?? 1;
  if (min < 1) errors.push(invalidField('spec.minReplicas', min, 'must be greater than or equal to 1'));
  if (spec.maxReplicas < 1) errors.push(requiredField('spec.maxReplicas', 'must be set and greater than 0'));
  if (spec.maxReplicas < min) {
    errors.push(invalidField('spec.maxReplicas', spec.maxReplicas, 'must be greater than or equal to `minReplicas`'));
  }
  errors.push(...reference('spec.scaleTargetRef', spec.scaleTargetRef));
  for (const [index, each] of (spec.metrics ?? []).entries()) errors.push(...metric(`spec.metrics[${index}]`, each));
  const { scaleUp, scaleDown } = spec.behavior ?? {};
  errors.push(...scalingRules('spec.behavior.scaleUp', scaleUp), ...scalingRules('spec.behavior.scaleDown', scaleDown));
  return errors;
}
