// The rules of a request for a pod's log. Pure. (Kubernetes: pkg/apis/core/validation, ValidatePodLogOptions)
import { type FieldError, forbiddenField, invalidField, invalidObject } from '#kube/errors/field-error.ts';
import { nonNegative, oneOf, positive } from '../../registry/validation/field-checks.ts';

function whole(query: URLSearchParams, name: string): { value: number | undefined; errors: FieldError[] } {
  const text = query.get(name) ?? '';
  if (text === '') return { value: undefined, errors: [] };
  if (/^-?\d+$/.test(text)) return { value: Number(text), errors: [] };
  return { value: undefined, errors: [invalidField(name, text, 'must be a whole number')] };
}

/** Throws StatusError 422 when the query of pod `name`'s log breaks a rule. */
export function validateLogOptions(name: string, query: URLSearchParams): void {
  const tailLines = whole(query, 'tailLines');
  const limitBytes = whole(query, 'limitBytes');
  const sinceSeconds = whole(query, 'sinceSeconds');
  const stream = query.get('stream') || 'All';
  const errors = [
    ...tailLines.errors,
    ...nonNegative('tailLines', tailLines.value),
    ...limitBytes.errors,
    ...positive('limitBytes', limitBytes.value),
    ...sinceSeconds.errors,
    ...positive('sinceSeconds', sinceSeconds.value),
    ...oneOf('stream', stream, ['All', 'Stdout', 'Stderr']),
  ];
  if (sinceSeconds.value !== undefined && (query.get('sinceTime') ?? '') !== '') {
    errors.push(forbiddenField('', 'at most one of `sinceTime` or `sinceSeconds` may be specified'));
  }
  if (stream !== 'All' && tailLines.value !== undefined) {
    errors.push(forbiddenField('', '`tailLines` and specific `stream` are mutually exclusive for now'));
  }
  if (errors.length > 0) throw invalidObject('PodLogOptions', '', name, errors);
}
