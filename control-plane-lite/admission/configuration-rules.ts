// Rules of the objects that configure admission: they compile expressions, which the rules of other kinds never do.
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';
import type { KindRules } from '../registry/registry.ts';
import { defaultPolicy } from './policy/default-policies.ts';
import {
  validateMutatingBinding,
  validateMutatingPolicy,
  validateValidatingBinding,
  validateValidatingPolicy,
} from './policy/validate-policies.ts';
import { validateWebhookConfiguration } from './webhook/validate-webhooks.ts';

type Validate = (object: KubeObject) => FieldError[];

/** The table is keyed by kind, so the object's type is what each function says it takes. */
function validator<T>(validate: (object: T) => FieldError[]): Validate {
  return validate as unknown as Validate;
}

const validators: Record<string, Validate> = {
  ValidatingWebhookConfiguration: validator(validateWebhookConfiguration),
  MutatingWebhookConfiguration: validator(validateWebhookConfiguration),
  ValidatingAdmissionPolicy: validator(validateValidatingPolicy),
  ValidatingAdmissionPolicyBinding: validator(validateValidatingBinding),
  MutatingAdmissionPolicy: validator(validateMutatingPolicy),
  MutatingAdmissionPolicyBinding: validator(validateMutatingBinding),
};

const isOurs = ({ group }: Resource): boolean => group === 'admissionregistration.k8s.io';

const validatorOf = (resource: Resource): Validate | undefined =>
  isOurs(resource) ? validators[resource.kind] : undefined;

/** The rules of kinds, with those of admission's configuration. */
export function withConfigurationRules(rules: KindRules): KindRules {
  return {
    applyDefaults: (resource, object) => {
      rules.applyDefaults(resource, object);
      if (isOurs(resource) && resource.kind.includes('AdmissionPolicy')) defaultPolicy(object);
    },
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
