// When containers start again, how they are asked to stop, and how they are resized.
import type { Container, PodSpec } from '#kube/api/generated/core-v1.ts';
import {
  duplicateField,
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  tooManyField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { oneOf, requiredOneOf } from './field-checks.ts';

const restartPolicies = ['Always', 'Never', 'OnFailure'];
const ruleActions = ['Restart', 'RestartAllContainers'];
const maxRules = 20;
const maxExitCodes = 255;
const linuxSignal =
  /^SIG(ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|HUP|ILL|INT|IO|IOT|KILL|PIPE|POLL|PROF|PWR|QUIT|SEGV|STKFLT|STOP|SYS|TERM|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTMIN(\+([1-9]|1[0-5]))?|RTMAX(-([1-9]|1[0-4]))?)$/;
const windowsSignals = ['SIGKILL', 'SIGTERM'];

function validateRules(field: string, { restartPolicy, restartPolicyRules: rules = [] }: Container): FieldError[] {
  const errors: FieldError[] = [];
  if (rules.length > 0 && restartPolicy === undefined) {
    errors.push(requiredField(`${field}.restartPolicy`, 'must specify restartPolicy when restart rules are used'));
  }
  if (rules.length > maxRules) errors.push(tooManyField(`${field}.restartPolicyRules`, rules.length, maxRules));
  for (const [i, { action, exitCodes }] of rules.entries()) {
    const at = `${field}.restartPolicyRules[${i}]`;
    errors.push(...requiredOneOf(`${at}.action`, action, ruleActions));
    if (exitCodes === undefined) {
      errors.push(requiredField(`${at}.exitCodes`, 'must be specified'));
      continue;
    }
    errors.push(...requiredOneOf(`${at}.exitCodes.operator`, exitCodes.operator, ['In', 'NotIn']));
    const count = exitCodes.values?.length ?? 0;
    if (count > maxExitCodes) errors.push(tooManyField(`${at}.exitCodes.values`, count, maxExitCodes));
  }
  return errors;
}

function validateResizePolicy(field: string, { resizePolicy = [] }: Container, spec: PodSpec): FieldError[] {
  const errors: FieldError[] = [];
  const seen = new Set<string>();
  for (const [i, { resourceName, restartPolicy }] of resizePolicy.entries()) {
    if (seen.has(resourceName)) errors.push(duplicateField(`${field}[${i}]`, resourceName));
    seen.add(resourceName);
    errors.push(...requiredOneOf(field, resourceName, ['cpu', 'memory']));
    errors.push(...requiredOneOf(field, restartPolicy, ['NotRequired', 'RestartContainer']));
    if (spec.restartPolicy === 'Never' && restartPolicy === 'RestartContainer') {
      const text = "must be 'NotRequired' when `restartPolicy` is 'Never'";
      errors.push(invalidField(field, restartPolicy, text));
    }
  }
  return errors;
}

function validateStopSignal(field: string, { lifecycle }: Container, spec: PodSpec): FieldError[] {
  const signal = lifecycle?.stopSignal;
  if (signal === undefined) return [];
  const os = spec.os?.name ?? '';
  if (os === '') return [forbiddenField(field, 'may not be set for containers with empty `spec.os.name`')];
  const known = os === 'windows' ? windowsSignals.includes(signal) : linuxSignal.test(signal);
  return known ? [] : [unsupportedField(field, signal, windowsSignals)];
}

/** Rules of one container or init container. */
export function validateContainerLife(field: string, container: Container, spec: PodSpec): FieldError[] {
  return [
    ...oneOf(`${field}.restartPolicy`, container.restartPolicy, restartPolicies),
    ...validateRules(field, container),
    ...validateResizePolicy(`${field}.resizePolicy`, container, spec),
    ...validateStopSignal(`${field}.lifecycle.stopSignal`, container, spec),
  ];
}

const maxHostname = 64;

/** The host name of the pod's own choice. */
export function validateHostnameOverride(field: string, spec: PodSpec): FieldError[] {
  const name = spec.hostnameOverride;
  if (name === undefined) return [];
  const errors: FieldError[] = [];
  if (spec.hostNetwork === true) {
    errors.push(forbiddenField(field, 'may not be set when `hostNetwork` is true'));
  }
  if (spec.setHostnameAsFQDN === true) {
    errors.push(forbiddenField(field, 'may not be set when `setHostnameAsFQDN` is true'));
  }
  if (name.length > maxHostname) {
    errors.push(invalidField(field, name, `must be no more than ${maxHostname} characters`));
  }
  return errors;
}
