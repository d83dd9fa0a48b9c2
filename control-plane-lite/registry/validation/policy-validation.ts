// Rules of roles and bindings, disruption budgets, leases, priority and runtime classes, certificate requests.
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { RuntimeClass } from '#kube/api/generated/node-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import type { ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding } from '#kube/api/generated/rbac-v1.ts';
import type { PriorityClass } from '#kube/api/generated/scheduling-v1.ts';
import { dns1123LabelFaults, dns1123SubdomainFaults, pathSegmentFaults } from '#kube/api/names.ts';
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
  for (const [name, value] of Object.entries({ minAvailable, maxUnavailable })) {
    errors.push(...intOrPercent(`spec.${name}`, value));
    if (typeof value === 'string' && /^\d+%$/.test(value) && Number.parseInt(value, 10) > 100) {
      errors.push(invalidField(`spec.${name}`, value, 'must not be greater than 100%'));
    }
  }
  const policies = ['AlwaysAllow', 'IfHealthyBudget'];
  errors.push(...oneOf('spec.unhealthyPodEvictionPolicy', spec.unhealthyPodEvictionPolicy, policies));
  return [...errors, ...labelSelector('spec.selector', spec.selector)];
}

export function validateLease({ spec }: Lease): FieldError[] {
  return [
    ...positive('spec.leaseDurationSeconds', spec?.leaseDurationSeconds),
    ...nonNegative('spec.leaseTransitions', spec?.leaseTransitions),
  ];
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
