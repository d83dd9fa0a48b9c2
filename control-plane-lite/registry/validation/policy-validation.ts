// Rules of access, quota, scaling, priority, lease and certificate objects.
import type { HorizontalPodAutoscaler } from '#kube/api/generated/autoscaling-v2.ts';
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { LimitRange, ResourceQuota } from '#kube/api/generated/core-v1.ts';
import type { RuntimeClass } from '#kube/api/generated/node-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import type { ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding } from '#kube/api/generated/rbac-v1.ts';
import type { PriorityClass } from '#kube/api/generated/scheduling-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults, pathSegmentFaults } from '#kube/api/names.ts';
import { compareQuantities, parseQuantity, QuantityError } from '#kube/api/quantity.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import {
  intOrPercent,
  labelSelector,
  nonNegative,
  oneOf,
  positive,
  quantity,
  required,
  requiredSyntax,
  sameValue,
  syntax,
  unchanged,
} from './field-checks.ts';

const rbacGroup = 'rbac.authorization.k8s.io';
/** User-defined priorities end here; above are the system's own. */
const highestUserPriority = 1_000_000_000;

function validateRules(rules: readonly PolicyRule[] | undefined, namespaced: boolean): FieldError[] {
  return (rules ?? []).flatMap((rule, i) => {
    const at = `rules[${i}]`;
    const errors: FieldError[] = [];
    if (rule.verbs.length === 0) errors.push(requiredField(`${at}.verbs`, 'verbs must contain at least one value'));
    const urls = rule.nonResourceURLs ?? [];
    if (urls.length > 0) {
      if (namespaced) {
        errors.push(invalidField(`${at}.nonResourceURLs`, urls, 'namespaced rules cannot apply to non-resource URLs'));
      }
      if ((rule.apiGroups ?? []).length + (rule.resources ?? []).length + (rule.resourceNames ?? []).length > 0) {
        errors.push(
          invalidField(
            `${at}.nonResourceURLs`,
            urls,
            'rules cannot apply to both regular resources and non-resource URLs',
          ),
        );
      }
      return errors;
    }
    if ((rule.apiGroups ?? []).length === 0) {
      errors.push(requiredField(`${at}.apiGroups`, 'resource rules must supply at least one api group'));
    }
    if ((rule.resources ?? []).length === 0) {
      errors.push(requiredField(`${at}.resources`, 'resource rules must supply at least one resource'));
    }
    return errors;
  });
}

export const validateRole = (role: Role): FieldError[] => validateRules(role.rules, true);
export const validateClusterRole = (role: ClusterRole): FieldError[] => validateRules(role.rules, false);

export function validateBinding(binding: RoleBinding | ClusterRoleBinding): FieldError[] {
  const errors: FieldError[] = [];
  const { roleRef } = binding;
  if (roleRef.apiGroup !== rbacGroup) errors.push(unsupportedField('roleRef.apiGroup', roleRef.apiGroup, [rbacGroup]));
  const kinds = binding.kind === 'ClusterRoleBinding' ? ['ClusterRole'] : ['Role', 'ClusterRole'];
  errors.push(...oneOf('roleRef.kind', roleRef.kind, kinds));
  errors.push(...requiredSyntax('roleRef.name', roleRef.name, pathSegmentFaults));
  for (const [i, subject] of (binding.subjects ?? []).entries()) {
    const at = `subjects[${i}]`;
    if (subject.name === '') errors.push(requiredField(`${at}.name`));
    switch (subject.kind) {
      case 'ServiceAccount':
        if (subject.name !== '') errors.push(...syntax(`${at}.name`, subject.name, dns1123SubdomainFaults));
        if (subject.apiGroup) errors.push(unsupportedField(`${at}.apiGroup`, subject.apiGroup, ['']));
        // In a RoleBinding the binding's own namespace is meant.
        if (binding.kind === 'ClusterRoleBinding') errors.push(...required(`${at}.namespace`, subject.namespace));
        break;
      case 'User':
      case 'Group':
        errors.push(...oneOf(`${at}.apiGroup`, subject.apiGroup, [rbacGroup]));
        break;
      default:
        errors.push(unsupportedField(`${at}.kind`, subject.kind, ['ServiceAccount', 'User', 'Group']));
    }
  }
  return errors;
}

export function validateBindingUpdate(
  binding: RoleBinding | ClusterRoleBinding,
  previous: RoleBinding | ClusterRoleBinding,
): FieldError[] {
  const errors = validateBinding(binding);
  if (!sameValue(binding.roleRef, previous.roleRef)) {
    errors.push(invalidField('roleRef', binding.roleRef, 'cannot change roleRef'));
  }
  return errors;
}

export function validateDisruptionBudget({ spec }: PodDisruptionBudget): FieldError[] {
  const errors: FieldError[] = [];
  const { minAvailable, maxUnavailable } = spec;
  if (minAvailable !== undefined && maxUnavailable !== undefined) {
    // The value is printed with the field names of the server's internal type.
    const value = {
      MinAvailable: minAvailable,
      Selector: spec.selector ?? null,
      MaxUnavailable: maxUnavailable,
      UnhealthyPodEvictionPolicy: spec.unhealthyPodEvictionPolicy ?? null,
    };
    errors.push(invalidField('spec', value, 'minAvailable and maxUnavailable cannot be both set'));
  }
  errors.push(
    ...intOrPercent('spec.minAvailable', minAvailable),
    ...intOrPercent('spec.maxUnavailable', maxUnavailable),
  );
  const policies = ['AlwaysAllow', 'IfHealthyBudget'];
  errors.push(...oneOf('spec.unhealthyPodEvictionPolicy', spec.unhealthyPodEvictionPolicy, policies));
  return [...errors, ...labelSelector('spec.selector', spec.selector)];
}

export function validateAutoscaler({ spec }: HorizontalPodAutoscaler): FieldError[] {
  const errors: FieldError[] = [];
  const min = spec.minReplicas ?? 1;
  if (min < 1) errors.push(invalidField('spec.minReplicas', min, 'must be greater than or equal to 1'));
  if (spec.maxReplicas < 1) errors.push(requiredField('spec.maxReplicas', 'must be set and greater than 0'));
  if (spec.maxReplicas < min) {
    errors.push(invalidField('spec.maxReplicas', spec.maxReplicas, 'must be greater than or equal to `minReplicas`'));
  }
  const at = 'spec.scaleTargetRef';
  const { kind, name, apiVersion = '' } = spec.scaleTargetRef;
  errors.push(
    ...requiredSyntax(`${at}.kind`, kind, pathSegmentFaults),
    ...requiredSyntax(`${at}.name`, name, pathSegmentFaults),
  );
  if (apiVersion === '' && kind !== 'ReplicationController') {
    errors.push(invalidField(`${at}.apiVersion`, apiVersion, 'apiVersion must specify API group'));
  }
  const sources = ['Object', 'Pods', 'Resource', 'External', 'ContainerResource'];
  for (const [i, metric] of (spec.metrics ?? []).entries()) {
    if (metric.type === '') errors.push(requiredField(`spec.metrics[${i}].type`, 'must specify a metric source type'));
    else if (!sources.includes(metric.type)) {
      errors.push(unsupportedField(`spec.metrics[${i}].type`, metric.type, [...sources].sort()));
    }
  }
  return errors;
}

export function validateLease({ spec }: Lease): FieldError[] {
  return [
    ...positive('spec.leaseDurationSeconds', spec?.leaseDurationSeconds),
    ...nonNegative('spec.leaseTransitions', spec?.leaseTransitions),
  ];
}

const countedQuota =
  /^(pods|services|replicationcontrollers|resourcequotas|secrets|configmaps|persistentvolumeclaims|services\.(nodeports|loadbalancers)|count\/.+)$/;

export function validateResourceQuota(quota: ResourceQuota): FieldError[] {
  return Object.entries(quota.spec?.hard ?? {}).flatMap(([name, value]) => {
    const field = `spec.hard[${name}]`;
    const errors = quantity(field, value);
    const whole = () => parseQuantity(value).nano % 1_000_000_000n === 0n;
    if (errors.length === 0 && countedQuota.test(name) && !whole()) {
      errors.push(invalidField(field, value, 'must be an integer'));
    }
    return errors;
  });
}

export function validateLimitRange({ spec }: LimitRange): FieldError[] {
  return spec.limits.flatMap((item, i) => {
    const at = `spec.limits[${i}]`;
    const errors: FieldError[] = [];
    if (item.type === '') errors.push(requiredField(`${at}.type`));
    if (item.type === 'Pod') {
      for (const key of ['default', 'defaultRequest'] as const) {
        if (Object.keys(item[key] ?? {}).length > 0) {
          errors.push(forbiddenField(`${at}.${key}`, "may not be specified when `type` is 'Pod'"));
        }
      }
    }
    const pairs = [
      ['min', 'max', 'min'],
      ['defaultRequest', 'max', 'default request'],
      ['default', 'max', 'default'],
      ['min', 'default', 'min'],
      ['min', 'defaultRequest', 'min'],
      ['defaultRequest', 'default', 'default request'],
    ] as const;
    for (const [low, high, word] of pairs) {
      for (const [name, value] of Object.entries(item[low] ?? {})) {
        const bound = item[high]?.[name];
        if (bound === undefined || !exceeds(value, bound)) continue;
        const other = high === 'defaultRequest' ? 'default request' : high;
        errors.push(
          invalidField(
            `${at}.${low}[${name}]`,
            value,
            `${word} value ${value} is greater than ${other} value ${bound}`,
          ),
        );
      }
    }
    return errors;
  });
}

function exceeds(a: string, b: string): boolean {
  try {
    return compareQuantities(parseQuantity(a), parseQuantity(b)) > 0;
  } catch (error) {
    if (error instanceof QuantityError) return false;
    throw error;
  }
}

export function validatePriorityClass({ metadata, value }: PriorityClass): FieldError[] {
  const system = metadata.name.startsWith('system-');
  if (system && metadata.name !== 'system-node-critical' && metadata.name !== 'system-cluster-critical') {
    const text =
      "priority class names with 'system-' prefix are reserved for system use only. error: " +
      `${metadata.name} is not a known system priority class`;
    return [forbiddenField('metadata.name', text)];
  }
  if (!system && (value ?? 0) > highestUserPriority) {
    const text = `maximum allowed value of a user defined priority is ${highestUserPriority}`;
    return [forbiddenField('value', text)];
  }
  return [];
}

export function validatePriorityClassUpdate(priorityClass: PriorityClass, previous: PriorityClass): FieldError[] {
  const errors: FieldError[] = [];
  if (priorityClass.value !== previous.value) errors.push(forbiddenField('value', 'may not be changed in an update.'));
  return [...errors, ...unchanged('preemptionPolicy', priorityClass.preemptionPolicy, previous.preemptionPolicy)];
}

export function validateRuntimeClass(runtimeClass: RuntimeClass): FieldError[] {
  return requiredSyntax('handler', runtimeClass.handler, dns1123LabelFaults);
}

export function validateRuntimeClassUpdate(runtimeClass: RuntimeClass, previous: RuntimeClass): FieldError[] {
  return unchanged('handler', runtimeClass.handler, previous.handler);
}

export function validateCertificateSigningRequest({ spec }: CertificateSigningRequest): FieldError[] {
  const errors: FieldError[] = [];
  const pem = Buffer.from(spec.request, 'base64').toString('latin1');
  if (
    !pem.includes('-----BEGIN CERTIFICATE REQUEST-----') &&
    !pem.includes('-----BEGIN NEW CERTIFICATE REQUEST-----')
  ) {
    errors.push(invalidField('spec.request', spec.request, 'PEM block type must be CERTIFICATE REQUEST'));
  }
  if ((spec.usages ?? []).length === 0) errors.push(requiredField('spec.usages'));
  if (!spec.signerName) errors.push(requiredField('spec.signerName'));
  else if (!/^[^/]+\.[^/]+\/.+$/.test(spec.signerName)) {
    errors.push(
      invalidField(
        'spec.signerName',
        spec.signerName,
        "must be a fully qualified domain and path of the form 'example.com/signer-name'",
      ),
    );
  }
  if (spec.expirationSeconds !== undefined && spec.expirationSeconds < 600) {
    errors.push(
      invalidField(
        'spec.expirationSeconds',
        spec.expirationSeconds,
        'may not specify a duration less than 600 seconds (10 minutes)',
      ),
    );
  }
  return errors;
}
