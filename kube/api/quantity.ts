// Resource quantities (`500m`, `1Gi`, `1e3`): exact to a billionth, formatted in Kubernetes' canonical form.
// Source of the rules: the documentation of k8s.io/apimachinery/pkg/api/resource.Quantity.

export type QuantityFormat = 'DecimalSI' | 'BinarySI' | 'DecimalExponent';

/** A fixed-point number counted in billionths, and the notation it was written in. */
export interface Quantity {
  readonly nano: bigint;
  readonly format: QuantityFormat;
}

/** A text that is not a quantity; the messages are Kubernetes' own. */
export class QuantityError extends Error {
  readonly code = 'INVALID_QUANTITY';

  constructor(message: string) {
    super(message);
    this.name = 'QuantityError';
  }
}

const nanoPerUnit = 1_000_000_000n;
const maxNano = (2n ** 63n - 1n) * nanoPerUnit;
const decimalSuffixes = ['n', 'u', 'm', '', 'k', 'M', 'G', 'T', 'P', 'E'];
const binarySuffixes = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];
const shape = /^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$/;

interface Suffix {
  format: QuantityFormat;
  base: 2 | 10;
  exponent: number;
}

function parseSuffix(suffix: string): Suffix {
  const binary = suffix === '' ? -1 : binarySuffixes.indexOf(suffix);
  if (binary > 0) return { format: 'BinarySI', base: 2, exponent: binary * 10 };
  const decimal = decimalSuffixes.indexOf(suffix);
  if (decimal >= 0) return { format: 'DecimalSI', base: 10, exponent: (decimal - 3) * 3 };
  if (/^[eE][+-]?\d+$/.test(suffix)) {
    return { format: 'DecimalExponent', base: 10, exponent: Number(suffix.slice(1)) };
  }
  throw new QuantityError("unable to parse quantity's suffix");
}

function divideRoundingUp(value: bigint, divisor: bigint): bigint {
  const quotient = value / divisor;
  return value % divisor === 0n ? quotient : quotient + 1n;
}

/** Parses a quantity as it stands in an object (a bare number is taken as its text). Throws QuantityError. */
export function parseQuantity(source: string | number): Quantity {
  const text = String(source).trim();
  if (text === '') {
    throw new QuantityError(
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
  }
  const match = shape.exec(text);
  const number = /^([+-]?)(\d*)(?:\.(\d*))?$/.exec(match?.[1] ?? '');
  if (match === null || number === null || `${number[2]}${number[3] ?? ''}` === '') {
    throw new QuantityError(
      "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    );
  }
  const suffix = parseSuffix(match[2] ?? '');
  const fraction = number[3] ?? '';
  const digits = BigInt(`${number[2]}${fraction}`);
  let scale = 9 - fraction.length + (suffix.base === 10 ? suffix.exponent : 0);
  if (scale > 60) scale = 60;
  if (scale < -60) scale = -60;
  const multiplied =
    (suffix.base === 2 ? digits << BigInt(suffix.exponent) : digits) * 10n ** BigInt(Math.max(scale, 0));
  const magnitude = scale < 0 ? divideRoundingUp(multiplied, 10n ** BigInt(-scale)) : multiplied;
  const capped = magnitude > maxNano ? maxNano : magnitude;
  return { nano: number[1] === '-' ? -capped : capped, format: suffix.format };
}

/** The canonical text: no fraction, the largest suffix that keeps the value exact. */
export function formatQuantity({ nano, format }: Quantity): string {
  if (nano === 0n) return '0';
  const whole = nano % nanoPerUnit === 0n;
  const kibi = nano <= -1024n * nanoPerUnit || nano >= 1024n * nanoPerUnit;
  if (format === 'BinarySI' && whole && kibi) {
    let value = nano / nanoPerUnit;
    let step = 0;
    while (value % 1024n === 0n && step < binarySuffixes.length - 1) {
      value /= 1024n;
      step += 1;
    }
    return `${value}${binarySuffixes[step] ?? ''}`;
  }
  let value = nano;
  let step = 0;
  while (value % 1000n === 0n && step < decimalSuffixes.length - 1) {
    value /= 1000n;
    step += 1;
  }
  if (format !== 'DecimalExponent') return `${value}${decimalSuffixes[step] ?? ''}`;
  const exponent = (step - 3) * 3;
  return exponent === 0 ? `${value}` : `${value}e${exponent}`;
}

/** Parses and formats: what the API server stores. Throws QuantityError. */
export function canonicalQuantity(text: string | number): string {
  return formatQuantity(parseQuantity(text));
}

/** Nothing, in decimal notation. */
export const zeroQuantity: Quantity = { nano: 0n, format: 'DecimalSI' };

/** Negative, zero or positive as `a` is less than, equal to or more than `b`. */
export function compareQuantities(a: Quantity, b: Quantity): number {
  return a.nano < b.nano ? -1 : a.nano > b.nano ? 1 : 0;
}

/** The sum, in the notation of `a` unless `a` is zero. */
export function addQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano + b.nano, format: a.nano === 0n ? b.format : a.format };
}

/** The difference, in the notation of `a` unless `a` is zero. */
export function subtractQuantities(a: Quantity, b: Quantity): Quantity {
  return { nano: a.nano - b.nano, format: a.nano === 0n ? b.format : a.format };
}

/** A whole number in the given notation. */
export function quantityOf(value: number | bigint, format: QuantityFormat = 'DecimalSI'): Quantity {
  return { nano: BigInt(value) * nanoPerUnit, format };
}

/** Thousandths in the given notation: `milliQuantityOf(1500)` is 1500m. */
export function milliQuantityOf(milli: number | bigint, format: QuantityFormat = 'DecimalSI'): Quantity {
  return { nano: BigInt(milli) * 1_000_000n, format };
}

function dividedAwayFromZero(nano: bigint, divisor: bigint): number {
  return Number(nano < 0n ? -divideRoundingUp(-nano, divisor) : divideRoundingUp(nano, divisor));
}

/** The value as a whole number, rounded away from zero (bytes, counts). */
export function quantityToNumber(quantity: Quantity): number {
  return dividedAwayFromZero(quantity.nano, nanoPerUnit);
}

/** The value in thousandths, rounded away from zero (cpu). */
export function quantityToMilli(quantity: Quantity): number {
  return dividedAwayFromZero(quantity.nano, 1_000_000n);
}

/** The value with its fraction, as near as a double comes. */
export function quantityToFloat(quantity: Quantity): number {
  return Number(quantity.nano / nanoPerUnit) + Number(quantity.nano % nanoPerUnit) / 1e9;
}

/** Whole number of a quantity's text; absent counts as zero. Throws QuantityError. */
export function quantityValue(text: string | number | undefined): number {
  return text === undefined ? 0 : quantityToNumber(parseQuantity(text));
}

/** Thousandths of a quantity's text; absent counts as zero. Throws QuantityError. */
export function milliValue(text: string | number | undefined): number {
  return text === undefined ? 0 : quantityToMilli(parseQuantity(text));
}
