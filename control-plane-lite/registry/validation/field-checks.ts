// Checks of single values that many kinds share. Each answers the errors it found, with upstream's texts.
import { isIP } from 'node:net';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { isCidr } from '#kube/api/ip-address.ts';
import {
  dns1123SubdomainFaults,
  labelValueFaults,
  portNameFaults,
  portNumberFaults,
  qualifiedNameFaults,
  regexFault,
} from '#kube/api/names.ts';
import { compareQuantities, parseQuantity, QuantityError, zeroQuantity } from '#kube/api/quantity.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';

export const immutableText = 'field is immutable';
export const nonNegativeText = 'must be greater than or equal to 0';

/** What RFC 3986 lets the path of a URL consist of. */
const pathPattern = "[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+";
const pathRegex = new RegExp(`^${pathPattern}$`);

/** Turns the faults of a syntax check into errors of a field. */
export function syntax(field: string, value: string, faults: (value: string) => string[]): FieldError[] {
  return faults(value).map((fault) => invalidField(field, value, fault));
}

/** Required, then of the given syntax. */
export function requiredSyntax(
  field: string,
  value: string | undefined,
  faults: (value: string) => string[],
): FieldError[] {
  if (value === undefined || value === '') return [requiredField(field)];
  return syntax(field, value, faults);
}

/** Names of software, such as `acme.io/foo`: a subdomain and a path. */
export function domainPrefixedPath(field: string, value: string): FieldError[] {
  if (value === '') return [requiredField(field)];
  const cut = value.indexOf('/');
  const path = value.slice(cut + 1);
  if (cut <= 0 || path === '') {
    return [invalidField(field, value, 'must be a domain-prefixed path (such as "acme.io/foo")')];
  }
  const errors = syntax(field, value.slice(0, cut), dns1123SubdomainFaults);
  return pathRegex.test(path)
    ? errors
    : [...errors, invalidField(field, path, regexFault('Invalid path', pathPattern))];
}

export function required(field: string, value: string | undefined, detail = ''): FieldError[] {
  return value === undefined || value === '' ? [requiredField(field, detail)] : [];
}

export function nonNegative(field: string, value: number | undefined): FieldError[] {
  return value !== undefined && value < 0 ? [invalidField(field, value, nonNegativeText)] : [];
}

export function positive(field: string, value: number | undefined): FieldError[] {
  return value !== undefined && value <= 0 ? [invalidField(field, value, 'must be greater than 0')] : [];
}

export function within(field: string, value: number | undefined, low: number, high: number): FieldError[] {
  if (value === undefined || (value >= low && value <= high)) return [];
  return [invalidField(field, value, `must be between ${low} and ${high}, inclusive`)];
}

export function oneOf(field: string, value: string | undefined, supported: readonly string[]): FieldError[] {
  if (value === undefined || supported.includes(value)) return [];
  return [unsupportedField(field, value, supported)];
}

/** As oneOf, where an empty value is missing rather than unknown. */
export function requiredOneOf(field: string, value: string | undefined, supported: readonly string[]): FieldError[] {
  if (value === undefined || value === '') return [requiredField(field)];
  return oneOf(field, value, supported);
}

export function unchanged(field: string, value: unknown, previous: unknown): FieldError[] {
  return sameValue(value, previous) ? [] : [invalidField(field, value, immutableText)];
}

/** Deep equality of JSON values; absent fields and undefined are equal. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  return [...new Set([...Object.keys(left), ...Object.keys(right)])].every((key) => sameValue(left[key], right[key]));
}

export function ipAddress(field: string, value: string): FieldError[] {
  if (isIP(value) !== 0) return [];
  return [invalidField(field, value, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')];
}

export function cidr(field: string, value: string): FieldError[] {
  if (isCidr(value)) return [];
  return [invalidField(field, value, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')];
}

export function portNumber(field: string, port: number): FieldError[] {
  return portNumberFaults(port).map((fault) => invalidField(field, port, fault));
}

/** A port by number or by the name of a container port. */
export function portNumberOrName(field: string, port: number | string | undefined): FieldError[] {
  if (port === undefined) return [requiredField(field)];
  if (typeof port === 'number') return portNumber(field, port);
  return portNameFaults(port).map((fault) => invalidField(field, port, fault));
}

export function labels(field: string, map: Record<string, string> | undefined): FieldError[] {
  return Object.entries(map ?? {}).flatMap(([key, value]) => [
    ...qualifiedNameFaults(key).map((fault) => invalidField(field, key, fault)),
    ...labelValueFaults(value).map((fault) => invalidField(field, value, fault)),
  ]);
}

const selectorOperators = ['DoesNotExist', 'Exists', 'In', 'NotIn'];

/** A LabelSelector's own rules. */
export function labelSelector(field: string, selector: LabelSelector | undefined): FieldError[] {
  if (selector === undefined) return [];
  const expressions = (selector.matchExpressions ?? []).flatMap((requirement, i) => {
    const at = `${field}.matchExpressions[${i}]`;
    const values = requirement.values ?? [];
    const errors: FieldError[] = [];
    if (!selectorOperators.includes(requirement.operator)) {
      errors.push(invalidField(`${at}.operator`, requirement.operator, 'not a valid selector operator'));
    } else if (requirement.operator === 'In' || requirement.operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(requiredField(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (values.length > 0) {
      errors.push(forbiddenField(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    }
    errors.push(...syntax(`${at}.key`, requirement.key, qualifiedNameFaults));
    errors.push(...values.flatMap((value, v) => syntax(`${at}.values[${v}]`, value, labelValueFaults)));
    return errors;
  });
  return [...labels(`${field}.matchLabels`, selector.matchLabels), ...expressions];
}

/** A quantity that must not be negative. */
export function quantity(field: string, value: string): FieldError[] {
  try {
    if (compareQuantities(parseQuantity(value), zeroQuantity) >= 0) return [];
  } catch (error) {
    if (!(error instanceof QuantityError)) throw error;
    return [invalidField(field, value, error.message)];
  }
  return [invalidField(field, value, nonNegativeText)];
}

/** A quantity of something. */
export function positiveQuantity(field: string, value: string): FieldError[] {
  const errors = quantity(field, value);
  const isNone = errors.length === 0 && compareQuantities(parseQuantity(value), zeroQuantity) === 0;
  const isNegative = errors.some(({ message }) => message.endsWith(nonNegativeText));
  return isNone || isNegative ? [invalidField(field, value, 'must be greater than zero')] : errors;
}

/** A count or a percentage, as rolling updates and disruption budgets take. */
export function intOrPercent(field: string, value: number | string | undefined): FieldError[] {
  if (value === undefined) return [];
  if (typeof value === 'number') return nonNegative(field, value);
  if (/^[0-9]+%$/.test(value)) return [];
  const text = "a valid percent string must be a numeric string followed by an ending '%'";
  return [invalidField(field, value, `${text} (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')`)];
}
