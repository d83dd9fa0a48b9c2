// Rules of the objects that configure admission: they compile expressions, which the rules of other kinds never do.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';
import type { KindRules } from '../registry/registry.ts';
import { validateWebhookConfiguration } from './webhook/validate-webhooks.ts';

type Validate = (object: KubeObject) => FieldError[];

const validators: Record<string, Validate> = {
  ValidatingWebhookConfiguration: validateWebhookConfiguration as Validate,
  MutatingWebhookConfiguration: validateWebhookConfiguration as Validate,
};

const validatorOf = ({ group, kind }: Resource): Validate | undefined =>
  group === 'admissionregistration.k8s.io' ? validators[kind] : undefined;

/** The rules of kinds, with those of admission's configuration. */
export function withConfigurationRules(rules: KindRules): KindRules {
  return {
    applyDefaults: rules.applyDefaults,
    validateCreate: (resource, object) => [
      ...rules.validateCreate(resource, object),
      ...(validatorOf(resource)?.(object) ?? []),
    ],
    validateUpdate: (resource, object, previous, subresource) => [
      ...rules.validateUpdate(resource, object, previous, subresource),
      ...(subresource === '' ? (validatorOf(resource)?.(object) ?? []) : []),
    ],
  };
}
