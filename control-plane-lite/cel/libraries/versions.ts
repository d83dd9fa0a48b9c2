// Quantities and semantic versions.
import { type Environment, EvaluationError } from '@marcbachmann/cel-js';
import { compareQuantities, formatQuantity, parseQuantity, type Quantity } from '#kube/api/quantity.ts';
import { addFunctions } from '../function-table.ts';

const nanoPerUnit = 1_000_000_000n;

export class QuantityValue {
  readonly #quantity: Quantity;

  constructor(quantity: Quantity) {
    this.#quantity = quantity;
  }

  static parse(text: string): QuantityValue {
    try {
      return new QuantityValue(parseQuantity(text));
    } catch (error) {
      throw new EvaluationError(error instanceof Error ? error.message : String(error));
    }
  }

  get nano(): bigint {
    return this.#quantity.nano;
  }

  plus(nano: bigint): QuantityValue {
    return new QuantityValue({ ...this.#quantity, nano: this.#quantity.nano + nano });
  }

  compareTo(other: QuantityValue): bigint {
    return BigInt(compareQuantities(this.#quantity, other.#quantity));
  }

  isInteger(): boolean {
    return this.#quantity.nano % nanoPerUnit === 0n;
  }

  toString(): string {
    return formatQuantity(this.#quantity);
  }
}

const shape =
  /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(?:-((?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9]\d*|\d*[A-Za-z-][0-9A-Za-z-]*))*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$/;

export class SemanticVersion {
  readonly #numbers: readonly bigint[];
  readonly #pre: readonly string[];
  readonly #text: string;

  constructor(text: string) {
    const match = text.length > 256 ? null : shape.exec(text);
    if (match === null) throw new EvaluationError(`Invalid Semantic Version ${JSON.stringify(text)}`);
    this.#numbers = [match[1], match[2], match[3]].map((part) => BigInt(part ?? '0'));
    this.#pre = match[4]?.split('.') ?? [];
    this.#text = text;
  }

  part(index: 0 | 1 | 2): bigint {
    return this.#numbers[index] ?? 0n;
  }

  compareTo(other: SemanticVersion): bigint {
    for (const index of [0, 1, 2] as const) {
      const [a, b] = [this.part(index), other.part(index)];
      if (a !== b) return a < b ? -1n : 1n;
    }
    if (this.#pre.length === 0 || other.#pre.length === 0)
      return BigInt(other.#pre.length > 0 ? 1 : 0) - BigInt(this.#pre.length > 0 ? 1 : 0);
    for (const [index, a] of this.#pre.entries()) {
      const b = other.#pre[index];
      if (b === undefined) return 1n;
      const order = comparePreRelease(a, b);
      if (order !== 0n) return order;
    }
    return this.#pre.length < other.#pre.length ? -1n : 0n;
  }

  toString(): string {
    return this.#text;
  }
}

function comparePreRelease(a: string, b: string): bigint {
  const [isA, isB] = [/^\d+$/.test(a), /^\d+$/.test(b)];
  if (isA !== isB) return isA ? -1n : 1n;
  if (isA) return BigInt(a) < BigInt(b) ? -1n : BigInt(a) > BigInt(b) ? 1n : 0n;
  return a < b ? -1n : a > b ? 1n : 0n;
}

/** `v1.2` as `1.2.0`: a prefix, missing parts and leading zeros are taken. */
export function normalizeVersion(text: string): string {
  const match = /^v?(\d+)(?:\.(\d+))?(?:\.(\d+))?(-.*|\+.*)?$/s.exec(text);
  if (match === null) return text;
  const numbers = [match[1], match[2], match[3]].map((part) => String(BigInt((part ?? '0').slice(0, 30))));
  return `${numbers.join('.')}${match[4] ?? ''}`;
}

function isOf(make: () => unknown): boolean {
  try {
    make();
    return true;
  } catch {
    return false;
  }
}

export function addVersions(environment: Environment): void {
  const nanoOf = (value: bigint) => value * nanoPerUnit;
  environment.registerType('kubernetes.Quantity', QuantityValue);
  environment.registerType('kubernetes.Semver', SemanticVersion);
  environment.registerOperator(
    'kubernetes.Quantity == kubernetes.Quantity',
    (a: QuantityValue, b: QuantityValue) => a.compareTo(b) === 0n,
  );
  environment.registerOperator(
    'kubernetes.Semver == kubernetes.Semver',
    (a: SemanticVersion, b: SemanticVersion) => a.compareTo(b) === 0n,
  );
  addFunctions(environment, {
    'quantity(string): kubernetes.Quantity': (text: string) => QuantityValue.parse(text),
    'isQuantity(string): bool': (text: string) => isOf(() => parseQuantity(text)),
    'kubernetes.Quantity.isInteger(): bool': (value: QuantityValue) => value.isInteger(),
    'kubernetes.Quantity.asInteger(): int': (value: QuantityValue) => {
      if (!value.isInteger()) throw new EvaluationError('cannot convert value to integer');
      return value.nano / nanoPerUnit;
    },
    'kubernetes.Quantity.asApproximateFloat(): double': (value: QuantityValue) => Number(value.nano) / 1e9,
    'kubernetes.Quantity.sign(): int': (value: QuantityValue) => (value.nano > 0n ? 1n : value.nano < 0n ? -1n : 0n),
    'kubernetes.Quantity.add(kubernetes.Quantity): kubernetes.Quantity': (a: QuantityValue, b: QuantityValue) =>
      a.plus(b.nano),
    'kubernetes.Quantity.add(int): kubernetes.Quantity': (a: QuantityValue, b: bigint) => a.plus(nanoOf(b)),
    'kubernetes.Quantity.sub(kubernetes.Quantity): kubernetes.Quantity': (a: QuantityValue, b: QuantityValue) =>
      a.plus(-b.nano),
    'kubernetes.Quantity.sub(int): kubernetes.Quantity': (a: QuantityValue, b: bigint) => a.plus(-nanoOf(b)),
    'kubernetes.Quantity.isLessThan(kubernetes.Quantity): bool': (a: QuantityValue, b: QuantityValue) =>
      a.compareTo(b) < 0n,
    'kubernetes.Quantity.isGreaterThan(kubernetes.Quantity): bool': (a: QuantityValue, b: QuantityValue) =>
      a.compareTo(b) > 0n,
    'kubernetes.Quantity.compareTo(kubernetes.Quantity): int': (a: QuantityValue, b: QuantityValue) => a.compareTo(b),
    'semver(string): kubernetes.Semver': (text: string) => new SemanticVersion(text),
    'semver(string, bool): kubernetes.Semver': (text: string, isLoose: boolean) =>
      new SemanticVersion(isLoose ? normalizeVersion(text) : text),
    'isSemver(string): bool': (text: string) => isOf(() => new SemanticVersion(text)),
    'isSemver(string, bool): bool': (text: string, isLoose: boolean) =>
      isOf(() => new SemanticVersion(isLoose ? normalizeVersion(text) : text)),
    'kubernetes.Semver.major(): int': (version: SemanticVersion) => version.part(0),
    'kubernetes.Semver.minor(): int': (version: SemanticVersion) => version.part(1),
    'kubernetes.Semver.patch(): int': (version: SemanticVersion) => version.part(2),
    'kubernetes.Semver.isLessThan(kubernetes.Semver): bool': (a: SemanticVersion, b: SemanticVersion) =>
      a.compareTo(b) < 0n,
    'kubernetes.Semver.isGreaterThan(kubernetes.Semver): bool': (a: SemanticVersion, b: SemanticVersion) =>
      a.compareTo(b) > 0n,
    'kubernetes.Semver.compareTo(kubernetes.Semver): int': (a: SemanticVersion, b: SemanticVersion) => a.compareTo(b),
  });
}
