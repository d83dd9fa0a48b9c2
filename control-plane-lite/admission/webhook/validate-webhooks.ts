// Rules of webhook configurations, with the texts of the reference.
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
  ValidatingWebhookConfiguration,
} from '#kube/api/generated/admissionregistration-v1.ts';
import { dns1123SubdomainFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { labelSelector, oneOf } from '../../registry/validation/field-checks.ts';
import { conditionNames } from '../matching/condition-names.ts';
import { validateClientConfig, validateMatchConditions, validateRules } from '../matching/validate-matching.ts';

function validateName(name: string, path: string): FieldError[] {
  if (name === '') return [requiredField(path)];
  const faults = dns1123SubdomainFaults(name).map((fault) => invalidField(path, name, fault));
  if (faults.length > 0) return faults;
  return name.split('.').length < 3
    ? [invalidField(path, name, 'should be a domain with at least three segments separated by dots')]
    : [];
}

function validateReviewVersions(versions: readonly string[] | undefined, path: string): FieldError[] {
  if ((versions ?? []).length === 0) return [requiredField(path, 'must specify one of v1, v1beta1')];
  if (versions?.some((each) => each === 'v1' || each === 'v1beta1') === true) return [];
  return [invalidField(path, versions, 'must include at least one of v1, v1beta1')];
}

function validateWebhook(webhook: ValidatingWebhook & Partial<MutatingWebhook>, path: string): FieldError[] {
  const { sideEffects, timeoutSeconds, reinvocationPolicy } = webhook;
  return [
    ...validateName(webhook.name, `${path}.name`),
    ...validateRules(webhook.rules, `${path}.rules`),
    ...oneOf(`${path}.failurePolicy`, webhook.failurePolicy, ['Fail', 'Ignore']),
    ...oneOf(`${path}.matchPolicy`, webhook.matchPolicy, ['Equivalent', 'Exact']),
    ...(sideEffects === undefined || sideEffects === null || sideEffects === ''
      ? [requiredField(`${path}.sideEffects`, 'must specify one of None, NoneOnDryRun')]
      : sideEffects === 'None' || sideEffects === 'NoneOnDryRun'
        ? []
        : [unsupportedField(`${path}.sideEffects`, sideEffects, ['None', 'NoneOnDryRun'])]),
    ...(timeoutSeconds !== undefined && (timeoutSeconds < 1 || timeoutSeconds > 30)
      ? [invalidField(`${path}.timeoutSeconds`, timeoutSeconds, 'the timeout value must be between 1 and 30 seconds')]
      : []),
    ...labelSelector(`${path}.namespaceSelector`, webhook.namespaceSelector),
    ...labelSelector(`${path}.objectSelector`, webhook.objectSelector),
    ...(reinvocationPolicy === undefined
      ? []
      : oneOf(`${path}.reinvocationPolicy`, reinvocationPolicy, ['IfNeeded', 'Never'])),
    ...validateClientConfig(webhook.clientConfig, `${path}.clientConfig`),
    ...validateReviewVersions(webhook.admissionReviewVersions, `${path}.admissionReviewVersions`),
    ...validateMatchConditions(webhook.matchConditions, `${path}.matchConditions`, conditionNames),
  ];
}

export function validateWebhookConfiguration({
  webhooks = [],
}: ValidatingWebhookConfiguration | MutatingWebhookConfiguration): FieldError[] {
  const seen = new Set<string>();
  return webhooks.flatMap((webhook, index) => {
    const path = `webhooks[${index}]`;
    const errors = validateWebhook(webhook, path);
    if (seen.has(webhook.name)) errors.push(duplicateField(`${path}.name`, webhook.name));
    seen.add(webhook.name);
    return errors;
  });
}
