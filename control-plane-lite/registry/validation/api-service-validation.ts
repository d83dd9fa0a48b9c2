// Rules of APIServices, with the texts of the reference.
import type { APIService } from '#kube/api/generated/apiregistration-v1.ts';
import { dns1035LabelFaults, dns1123SubdomainFaults } from '#kube/api/names.ts';
import { type FieldError, forbiddenField, invalidField, requiredField } from '#kube/errors/field-error.ts';
import { syntax } from './field-checks.ts';

export function validateApiService({ metadata, spec }: APIService): FieldError[] {
  const { group = '', version = '', service, caBundle = '', insecureSkipTLSVerify = false } = spec;
  const errors: FieldError[] = [];
  const wanted = `${version}.${group}`;
  if (metadata.name !== wanted) {
    errors.push(
      invalidField(
        'metadata.name',
        metadata.name,
        `must be \`spec.version+"."+spec.group\`: ${JSON.stringify(wanted)}`,
      ),
    );
  }
  if (group !== '') errors.push(...syntax('spec.group', group, dns1123SubdomainFaults));
  errors.push(...syntax('spec.version', version, dns1035LabelFaults));
  if (spec.groupPriorityMinimum <= 0 || spec.groupPriorityMinimum > 20_000) {
    errors.push(
      invalidField('spec.groupPriorityMinimum', spec.groupPriorityMinimum, 'must be positive and less than 20000'),
    );
  }
  if (spec.versionPriority <= 0 || spec.versionPriority > 1000) {
    errors.push(invalidField('spec.versionPriority', spec.versionPriority, 'must be positive and less than 1000'));
  }
  if (service === undefined) {
    if (caBundle !== '') errors.push(forbiddenField('spec.caBundle', 'local APIServices may not have a caBundle'));
    if (insecureSkipTLSVerify) {
      errors.push(forbiddenField('spec.insecureSkipTLSVerify', 'local APIServices may not have insecureSkipTLSVerify'));
    }
    return errors;
  }
  if ((service.namespace ?? '') === '') errors.push(requiredField('spec.service.namespace'));
  if ((service.name ?? '') === '') errors.push(requiredField('spec.service.name'));
  const { port = 443 } = service;
  if (port < 1 || port > 65535) {
    errors.push(invalidField('spec.service.port', port, 'port is not valid: must be between 1 and 65535, inclusive'));
  }
  if (insecureSkipTLSVerify && caBundle !== '') {
    errors.push(invalidField('spec.insecureSkipTLSVerify', true, 'may not be true if caBundle is present'));
  }
  return errors;
}
