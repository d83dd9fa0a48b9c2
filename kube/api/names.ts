// Syntax of names, labels and keys: each check returns the faults found, in the API server's words; none means valid.
// Source: k8s.io/apimachinery/pkg/api/validate/content and pkg/util/validation.

interface Syntax {
  pattern: string;
  regex: RegExp;
  fault: string;
  maxBytes: number;
}

const labelPattern = '[a-z0-9]([-a-z0-9]*[a-z0-9])?';
const subdomainPattern = `${labelPattern}(\\.${labelPattern})*`;
const qualifiedPattern = '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]';
const qualifiedFault =
  "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character";

function syntax(pattern: string, maxBytes: number, what: string, ...examples: string[]): Syntax {
  return { pattern, regex: new RegExp(`^${pattern}$`), maxBytes, fault: regexFault(what, pattern, ...examples) };
}

/** The text for a value that does not match a pattern. */
export function regexFault(what: string, pattern: string, ...examples: string[]): string {
  if (examples.length === 0) return `${what} (regex used for validation is '${pattern}')`;
  const shown = examples.map((example) => `'${example}', `).join('or ');
  return `${what} (e.g. ${shown}regex used for validation is '${pattern}')`;
}

/** The text for a value longer than allowed. */
export function maxLengthFault(maxBytes: number): string {
  return `must be no more than ${maxBytes} bytes`;
}

const dns1123Label = syntax(
  labelPattern,
  63,
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character",
  'my-name',
  '123-abc',
);
const dns1123Subdomain = syntax(
  subdomainPattern,
  253,
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character",
  'example.com',
);
const dns1035Label = syntax(
  '[a-z]([-a-z0-9]*[a-z0-9])?',
  63,
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character",
  'my-name',
  'abc-123',
);
const wildcardSubdomain = syntax(
  `\\*\\.${subdomainPattern}`,
  253,
  "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character",
  '*.example.com',
);
const labelValue = syntax(
  `(${qualifiedPattern})?`,
  63,
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character",
  'MyValue',
  'my_value',
  '12345',
);
const configMapKey = syntax(
  '[-._a-zA-Z0-9]+',
  253,
  "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
  'key.name',
  'KEY_NAME',
  'key-name',
);
const qualifiedName = new RegExp(`^${qualifiedPattern}$`);

function faultsOf(value: string, rule: Syntax): string[] {
  const faults: string[] = [];
  if (Buffer.byteLength(value) > rule.maxBytes) faults.push(maxLengthFault(rule.maxBytes));
  if (!rule.regex.test(value)) faults.push(rule.fault);
  return faults;
}

/** Container, namespace and port-owner names. */
export function dns1123LabelFaults(value: string): string[] {
  const faults = faultsOf(value, dns1123Label);
  if (!faults.includes(dns1123Label.fault) || !dns1123Subdomain.regex.test(value)) return faults;
  return faults.map((fault) => (fault === dns1123Label.fault ? 'must not contain dots' : fault));
}

/** Names of most objects. */
export function dns1123SubdomainFaults(value: string): string[] {
  return faultsOf(value, dns1123Subdomain);
}

/** Service names of old, and environment-friendly names. */
export function dns1035LabelFaults(value: string): string[] {
  return faultsOf(value, dns1035Label);
}

/** Ingress hosts of the form `*.example.com`. */
export function wildcardSubdomainFaults(value: string): string[] {
  return faultsOf(value, wildcardSubdomain);
}

/** Label keys, annotation keys, resource names, condition types, finalizers. */
export function qualifiedNameFaults(value: string): string[] {
  const parts = value.split('/');
  const mismatch = regexFault(qualifiedFault, qualifiedPattern, 'MyName', 'my.name', '123-abc');
  if (parts.length > 2) {
    return [`a valid label key ${mismatch} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')`];
  }
  const faults: string[] = [];
  const prefix = parts.length === 2 ? parts[0] : undefined;
  if (prefix === '') faults.push('prefix part must be non-empty');
  else if (prefix !== undefined) faults.push(...dns1123SubdomainFaults(prefix).map((fault) => `prefix part ${fault}`));
  const name = parts.at(-1) ?? '';
  if (name === '') faults.push('name part must be non-empty');
  else if (Buffer.byteLength(name) > 63) faults.push(`name part ${maxLengthFault(63)}`);
  if (!qualifiedName.test(name)) faults.push(`name part ${mismatch}`);
  return faults;
}

/** Values of labels; the empty value is one. */
export function labelValueFaults(value: string): string[] {
  return faultsOf(value, labelValue);
}

function pathLikeFaults(value: string): string[] {
  if (value === '.') return ["must not be '.'"];
  if (value === '..') return ["must not be '..'"];
  return value.startsWith('..') ? ["must not start with '..'"] : [];
}

/** Keys of a ConfigMap's or Secret's data. */
export function configMapKeyFaults(value: string): string[] {
  return [...faultsOf(value, configMapKey), ...pathLikeFaults(value)];
}

/** Names of environment variables: any printable ASCII but '='. */
export function envVarNameFaults(value: string): string[] {
  if (value === '') return ['environment variable name must be non-empty'];
  if (/^[ -<>-~]*$/.test(value)) return [];
  return ["a valid environment variable name must consist only of printable ASCII characters other than '='"];
}

/** Port names as IANA service names: at most 15 of [-a-z0-9], with a letter. */
export function portNameFaults(value: string): string[] {
  const faults: string[] = [];
  if (Buffer.byteLength(value) > 15) faults.push(maxLengthFault(15));
  if (!/^[-a-z0-9]+$/.test(value)) {
    faults.push('must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)');
  }
  if (!/[a-z]/.test(value)) faults.push('must contain at least one letter (a-z)');
  if (value.includes('--')) faults.push('must not contain consecutive hyphens');
  if (/^-|-$/.test(value)) faults.push('must not begin or end with a hyphen');
  return faults;
}

/** The text for a number outside of its range. */
export function rangeFault(low: number, high: number): string {
  return `must be between ${low} and ${high}, inclusive`;
}

/** 1 to 65535. */
export function portNumberFaults(port: number): string[] {
  return port >= 1 && port <= 65535 ? [] : [rangeFault(1, 65535)];
}

/** Names of RBAC objects and other path segments. */
export function pathSegmentFaults(value: string): string[] {
  if (value === '.' || value === '..') return [`may not be '${value}'`];
  return ['/', '%'].filter((part) => value.includes(part)).map((part) => `may not contain '${part}'`);
}
