// `"%s of %d".format([…])`: the verbs s, d, f, e, b, o, x and X.
import { EvaluationError } from '@marcbachmann/cel-js';

/** How a value shows in text. */
export function describeValue(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return `[${value.map(describeValue).join(', ')}]`;
  if (value instanceof Date) return value.toISOString().replace('.000Z', 'Z');
  if (typeof value === 'number') {
    if (Number.isNaN(value)) return 'NaN';
    if (!Number.isFinite(value)) return value > 0 ? 'Infinity' : '-Infinity';
  }
  if (value instanceof Uint8Array) return new TextDecoder().decode(value);
  if (typeof value === 'object' && value.constructor === Object) {
    const entries = Object.entries(value).map(([key, item]) => `${key}: ${describeValue(item)}`);
    return `{${entries.sort().join(', ')}}`;
  }
  return String(value);
}

const numberOf = (value: unknown): bigint | number =>
  typeof value === 'object' ? (value?.valueOf() as bigint) : (value as bigint);

function inBase(value: unknown, base: 2 | 8 | 16): string {
  if (typeof value === 'boolean' && base === 2) return value ? '1' : '0';
  if (typeof value === 'string' && base === 16) return Buffer.from(value).toString('hex');
  if (value instanceof Uint8Array && base === 16) return Buffer.from(value).toString('hex');
  const number = numberOf(value);
  if (typeof number === 'bigint') return number.toString(base);
  throw new EvaluationError('error during formatting: no such overload');
}

function clause(verb: string, precision: number, value: unknown): string {
  switch (verb) {
    case 's':
      return describeValue(value);
    case 'd': {
      const number = numberOf(value);
      if (typeof number === 'bigint' || typeof number === 'number') return describeValue(value);
      throw new EvaluationError('error during formatting: decimal clause can only be used on integers');
    }
    case 'f':
    case 'e': {
      const number = Number(numberOf(value));
      if (typeof value === 'string' || Number.isNaN(number)) {
        throw new EvaluationError('error during formatting: fixed-point clause can only be used on doubles');
      }
      if (!Number.isFinite(number)) return describeValue(number);
      return verb === 'f'
        ? number.toFixed(precision)
        : number.toExponential(precision).replace(/e([+-])(\d)$/, 'e$10$2');
    }
    case 'b':
      return inBase(value, 2);
    case 'o':
      return inBase(value, 8);
    case 'x':
      return inBase(value, 16);
    case 'X':
      return inBase(value, 16).toUpperCase();
    default:
      throw new EvaluationError(`error during formatting: unrecognized formatting clause "${verb}"`);
  }
}

/** Throws EvaluationError for a pattern that does not fit its arguments. */
export function formatText(pattern: string, values: readonly unknown[]): string {
  let next = 0;
  return pattern.replaceAll(
    /%(?:%|(?:\.(\d{1,3}))?(.?))/gs,
    (match, precision: string | undefined, verb: string | undefined) => {
      if (match === '%%') return '%';
      if (verb === undefined || verb === '')
        throw new EvaluationError('error during formatting: unexpected end of string');
      if (next >= values.length) throw new EvaluationError(`error during formatting: index ${next} out of range`);
      const digits = Math.min(Number(precision ?? 6), 100);
      const value = values[next];
      next += 1;
      return clause(verb, digits, value);
    },
  );
}
