// Lists taken as sets, and the named formats of Kubernetes.
import { type Environment, EvaluationError, Optional } from '@marcbachmann/cel-js';
import {
  dns1035LabelFaults,
  dns1123LabelFaults,
  dns1123SubdomainFaults,
  labelValueFaults,
  qualifiedNameFaults,
} from '#kube/api/names.ts';
import { addFunctions } from '../function-table.ts';
import { valuesEqual } from './lists.ts';
import { UrlValue } from './network.ts';

type Check = (value: string) => string[];

const uuid = /^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$/;

const matching =
  (isValid: (value: string) => boolean, name: string): Check =>
  (value) =>
    isValid(value) ? [] : [`does not match the ${name} format`];

function isUri(value: string): boolean {
  try {
    return String(new UrlValue(value)) === value;
  } catch {
    return false;
  }
}

const prefixed =
  (check: Check): Check =>
  (value) =>
    check(value.replace(/-$/, 'a'));

const formats: Record<string, Check> = {
  dns1123Label: dns1123LabelFaults,
  dns1123Subdomain: dns1123SubdomainFaults,
  dns1035Label: dns1035LabelFaults,
  qualifiedName: qualifiedNameFaults,
  dns1123LabelPrefix: prefixed(dns1123LabelFaults),
  dns1123SubdomainPrefix: prefixed(dns1123SubdomainFaults),
  dns1035LabelPrefix: prefixed(dns1035LabelFaults),
  labelValue: labelValueFaults,
  uri: matching(isUri, 'URI'),
  uuid: matching((value) => uuid.test(value), 'UUID'),
  byte: matching((value) => /^[A-Za-z0-9+/]*={0,2}$/.test(value) && value.length % 4 === 0, 'base64'),
  date: matching((value) => /^\d{4}-\d{2}-\d{2}$/.test(value) && !Number.isNaN(Date.parse(value)), 'date'),
  datetime: matching(
    (value) => /^\d{4}-\d{2}-\d{2}T[\d:.]+(Z|[+-]\d{2}:\d{2})$/.test(value) && !Number.isNaN(Date.parse(value)),
    'datetime',
  ),
};

/** One of the formats that `format.named` gives. */
export class NamedFormat {
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  validate(value: string): string[] {
    return formats[this.#name]?.(value) ?? [];
  }

  toString(): string {
    return this.#name;
  }
}

/** The namespaces `sets` and `format`. */
export class SetsNamespace {}
export class FormatNamespace {}

const includes = (list: readonly unknown[], value: unknown): boolean => list.some((each) => valuesEqual(each, value));
const contains = (list: readonly unknown[], other: readonly unknown[]): boolean =>
  other.every((each) => includes(list, each));
const maxProduct = 4_000_000;

function checkSizes(a: readonly unknown[], b: readonly unknown[]): void {
  if (a.length * b.length > maxProduct) throw new EvaluationError('operation cancelled: actual cost limit exceeded');
}

export function addSets(environment: Environment): void {
  environment.registerType('SetsNamespace', SetsNamespace);
  environment.registerConstant('sets', 'SetsNamespace', new SetsNamespace());
  environment.registerType('FormatNamespace', FormatNamespace);
  environment.registerConstant('format', 'FormatNamespace', new FormatNamespace());
  environment.registerType('kubernetes.NamedFormat', NamedFormat);
  const named = Object.fromEntries(
    Object.keys(formats).map((name) => [
      `FormatNamespace.${name}(): kubernetes.NamedFormat`,
      () => new NamedFormat(name),
    ]),
  );
  addFunctions(environment, {
    ...named,
    'SetsNamespace.contains(list, list): bool': (_: SetsNamespace, a: unknown[], b: unknown[]) => {
      checkSizes(a, b);
      return contains(a, b);
    },
    'SetsNamespace.equivalent(list, list): bool': (_: SetsNamespace, a: unknown[], b: unknown[]) => {
      checkSizes(a, b);
      return contains(a, b) && contains(b, a);
    },
    'SetsNamespace.intersects(list, list): bool': (_: SetsNamespace, a: unknown[], b: unknown[]) => {
      checkSizes(a, b);
      return b.some((each) => includes(a, each));
    },
    'FormatNamespace.named(string): optional<kubernetes.NamedFormat>': (_: FormatNamespace, name: string) =>
      Object.hasOwn(formats, name) ? Optional.of(new NamedFormat(name)) : Optional.none(),
    'kubernetes.NamedFormat.validate(string): optional': (format: NamedFormat, value: string) => {
      const faults = format.validate(value);
      return faults.length === 0 ? Optional.none() : Optional.of(faults);
    },
  });
}
