// Rules of admission policies and their bindings, with the texts of the reference.
import type {
  MatchResources,
  MutatingAdmissionPolicy,
  MutatingAdmissionPolicyBinding,
  ParamKind,
  ParamRef,
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  Variable,
} from '#kube/api/generated/admissionregistration-v1.ts';
import { qualifiedNameFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
} from '#kube/errors/field-error.ts';
import { compileExpression, type Declarations } from '../../cel/compile-expression.ts';
import { labelSelector, oneOf, requiredOneOf } from '../../registry/validation/field-checks.ts';
import { validateMatchConditions, validateRules } from '../matching/validate-matching.ts';
import { declarePolicyNames } from './policy-names.ts';

const reasons = ['Forbidden', 'Invalid', 'RequestEntityTooLarge', 'Unauthorized'];

function expression(
  path: string,
  source: string | undefined,
  names: Declarations,
  types?: readonly string[],
): FieldError[] {
  if ((source ?? '').trim() === '') return [requiredField(path, 'expression is not specified')];
  const compiled = compileExpression(source ?? '', names, types);
  return compiled.ok ? [] : [invalidField(path, source, compiled.message)];
}

function validateResources(resources: MatchResources | undefined, path: string, isPolicy: boolean): FieldError[] {
  if (resources === undefined) return isPolicy ? [requiredField(path)] : [];
  const { resourceRules, excludeResourceRules, matchPolicy, namespaceSelector, objectSelector } = resources;
  return [
    ...(isPolicy && (resourceRules ?? []).length === 0 ? [requiredField(`${path}.resourceRules`)] : []),
    ...oneOf(`${path}.matchPolicy`, matchPolicy, ['Equivalent', 'Exact']),
    ...labelSelector(`${path}.namespaceSelector`, namespaceSelector),
    ...labelSelector(`${path}.objectSelector`, objectSelector),
    ...validateRules(resourceRules, `${path}.resourceRules`),
    ...validateRules(excludeResourceRules, `${path}.excludeResourceRules`),
  ];
}

function validateParamKind(kind: ParamKind | undefined): FieldError[] {
  if (kind === undefined) return [];
  return [
    ...((kind.apiVersion ?? '') === '' ? [requiredField('spec.paramKind.apiVersion')] : []),
    ...((kind.kind ?? '') === '' ? [requiredField('spec.paramKind.kind')] : []),
  ];
}

function validateVariables(
  variables: readonly Variable[] | undefined,
  compiled: ReturnType<typeof declarePolicyNames>['variables'],
): FieldError[] {
  const seen = new Set<string>();
  return (variables ?? []).flatMap(({ name = '', expression: source = '' }, index) => {
    const path = `spec.variables[${index}]`;
    const errors: FieldError[] = [];
    if (name === '') errors.push(requiredField(`${path}.name`, 'name is not specified'));
    else if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name))
      errors.push(invalidField(`${path}.name`, name, 'name is not a valid CEL identifier'));
    if (seen.has(name)) errors.push(duplicateField(`${path}.name`, name));
    seen.add(name);
    const each = compiled[index]?.compiled;
    if (source.trim() === '') errors.push(requiredField(`${path}.expression`, 'expression is not specified'));
    else if (each?.ok === false) errors.push(invalidField(`${path}.expression`, source, each.message));
    return errors;
  });
}

export function validateValidatingPolicy({ spec }: ValidatingAdmissionPolicy): FieldError[] {
  const { validations = [], auditAnnotations = [], variables } = spec;
  const names = declarePolicyNames(variables, spec.paramKind !== undefined);
  const errors: FieldError[] = [
    ...oneOf('spec.failurePolicy', spec.failurePolicy, ['Fail', 'Ignore']),
    ...validateParamKind(spec.paramKind),
    ...validateResources(spec.matchConstraints, 'spec.matchConstraints', true),
    ...validateMatchConditions(spec.matchConditions, 'spec.matchConditions', names.conditions),
    ...validateVariables(variables, names.variables),
  ];
  if (validations.length === 0 && auditAnnotations.length === 0) {
    errors.push(requiredField('spec.validations', 'validations or auditAnnotations must be specified'));
  }
  for (const [index, validation] of validations.entries()) {
    const path = `spec.validations[${index}]`;
    errors.push(...expression(`${path}.expression`, validation.expression, names.all, ['bool']));
    const { message = '', messageExpression, reason } = validation;
    if (message.trim().includes('\n'))
      errors.push(invalidField(`${path}.message`, message, 'message must not contain line breaks'));
    if (message === '' && (validation.expression ?? '').trim().includes('\n')) {
      errors.push(requiredField(`${path}.message`, 'message must be specified if expression contains line breaks'));
    }
    if (messageExpression !== undefined)
      errors.push(...expression(`${path}.messageExpression`, messageExpression, names.all, ['string']));
    errors.push(...oneOf(`${path}.reason`, reason, reasons));
  }
  const keys = new Set<string>();
  for (const [index, { key = '', valueExpression }] of auditAnnotations.entries()) {
    const path = `spec.auditAnnotations[${index}]`;
    if (key === '') errors.push(requiredField(`${path}.key`));
    else errors.push(...qualifiedNameFaults(key).map((fault) => invalidField(`${path}.key`, key, fault)));
    if (keys.has(key)) errors.push(duplicateField(`${path}.key`, key));
    keys.add(key);
    errors.push(...expression(`${path}.valueExpression`, valueExpression, names.all, ['string', 'null']));
  }
  return errors;
}

export function validateMutatingPolicy({ spec }: MutatingAdmissionPolicy): FieldError[] {
  const { mutations = [], variables } = spec;
  const names = declarePolicyNames(variables, spec.paramKind !== undefined);
  const errors: FieldError[] = [
    ...oneOf('spec.failurePolicy', spec.failurePolicy, ['Fail', 'Ignore']),
    ...requiredOneOf('spec.reinvocationPolicy', spec.reinvocationPolicy, ['IfNeeded', 'Never']),
    ...validateParamKind(spec.paramKind),
    ...validateResources(spec.matchConstraints, 'spec.matchConstraints', true),
    ...validateMatchConditions(spec.matchConditions, 'spec.matchConditions', names.conditions),
    ...validateVariables(variables, names.variables),
  ];
  if (mutations.length === 0) errors.push(requiredField('spec.mutations', 'mutations must contain at least one item'));
  for (const [index, { patchType, applyConfiguration, jsonPatch }] of mutations.entries()) {
    const path = `spec.mutations[${index}]`;
    if (patchType === 'ApplyConfiguration') {
      if (jsonPatch !== undefined)
        errors.push(forbiddenField(`${path}.jsonPatch`, 'must not be specified when patchType is ApplyConfiguration'));
      errors.push(...expression(`${path}.applyConfiguration.expression`, applyConfiguration?.expression, names.all));
    } else if (patchType === 'JSONPatch') {
      if (applyConfiguration !== undefined)
        errors.push(forbiddenField(`${path}.applyConfiguration`, 'must not be specified when patchType is JSONPatch'));
      errors.push(...expression(`${path}.jsonPatch.expression`, jsonPatch?.expression, names.all, ['list']));
    } else errors.push(...requiredOneOf(`${path}.patchType`, patchType, ['ApplyConfiguration', 'JSONPatch']));
  }
  return errors;
}

function validateParamRef(reference: ParamRef | undefined): FieldError[] {
  if (reference === undefined) return [];
  const { name = '', selector, parameterNotFoundAction } = reference;
  const errors: FieldError[] = [];
  if (name !== '' && selector !== undefined) {
    errors.push(forbiddenField('spec.paramRef.name', 'name and selector are mutually exclusive'));
    errors.push(forbiddenField('spec.paramRef.selector', 'name and selector are mutually exclusive'));
  }
  if (name === '' && selector === undefined)
    errors.push(requiredField('spec.paramRef', 'one of name or selector must be specified'));
  errors.push(...labelSelector('spec.paramRef.selector', selector));
  return [
    ...errors,
    ...requiredOneOf('spec.paramRef.parameterNotFoundAction', parameterNotFoundAction, ['Deny', 'Allow']),
  ];
}

export function validateMutatingBinding({ spec }: MutatingAdmissionPolicyBinding): FieldError[] {
  return [
    ...((spec.policyName ?? '') === '' ? [requiredField('spec.policyName')] : []),
    ...validateParamRef(spec.paramRef),
    ...validateResources(spec.matchResources, 'spec.matchResources', false),
  ];
}

export function validateValidatingBinding(binding: ValidatingAdmissionPolicyBinding): FieldError[] {
  const actions = binding.spec.validationActions ?? [];
  const errors = validateMutatingBinding(binding as MutatingAdmissionPolicyBinding);
  const path = 'spec.validationActions';
  if (actions.length === 0) errors.push(requiredField(path, 'at least one validation action is required'));
  for (const [index, action] of actions.entries()) {
    errors.push(...oneOf(`${path}[${index}]`, action, ['Audit', 'Deny', 'Warn']));
    if (actions.indexOf(action) < index) errors.push(duplicateField(`${path}[${index}]`, action));
  }
  if (actions.includes('Deny') && actions.includes('Warn')) {
    errors.push(
      invalidField(
        path,
        actions,
        'must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)',
      ),
    );
  }
  return errors;
}
