// Lists: order, sums, positions, and what the extended list library adds.
import { type Environment, EvaluationError, Optional } from '@marcbachmann/cel-js';
import { addFunctions } from '../function-table.ts';

type Comparable = string | bigint | number | boolean | { valueOf(): unknown };

/** Negative, zero or positive; only values of one type have an order. */
export function compareValues(a: unknown, b: unknown): number {
  const [left, right] = [a, b].map((value) =>
    typeof value === 'object' && value !== null ? (value as Comparable).valueOf() : value,
  ) as [bigint, bigint];
  if (typeof left !== typeof right && !(isNumber(left) && isNumber(right))) {
    throw new EvaluationError('no such overload');
  }
  return left < right ? -1 : left > right ? 1 : 0;
}

const isNumber = (value: unknown): boolean => typeof value === 'bigint' || typeof value === 'number';

/** Equality as the language has it: deep, and numbers by value. */
export function valuesEqual(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  // biome-ignore lint/suspicious/noDoubleEquals: integers and doubles compare by value
  if (isNumber(a) && isNumber(b)) return (a as number) == (b as number);
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => valuesEqual(item, b[index]));
  }
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a.constructor !== b.constructor) return false;
  if (a.constructor !== Object) return String(a) === String(b);
  const [left, right] = [a, b] as [Record<string, unknown>, Record<string, unknown>];
  const keys = Object.keys(left);
  if (keys.length !== Object.keys(right).length) return false;
  return keys.every((key) => Object.hasOwn(right, key) && valuesEqual(left[key], right[key]));
}

function sum(list: readonly unknown[]): unknown {
  const [first] = list;
  if (first === undefined) return 0n;
  if (typeof first === 'bigint') {
    const total = (list as bigint[]).reduce((all, each) => all + each, 0n);
    if (total > 2n ** 63n - 1n || total < -(2n ** 63n)) throw new EvaluationError('integer overflow');
    return total;
  }
  if (typeof first === 'number') return (list as number[]).reduce((all, each) => all + each, 0);
  const add = (a: unknown, b: unknown): unknown => {
    const adder = (a as { addDuration?: (other: unknown) => unknown }).addDuration;
    if (adder === undefined) throw new EvaluationError('no such overload');
    return adder.call(a, b);
  };
  return list.slice(1).reduce(add, first);
}

function extreme(list: readonly unknown[], sign: 1 | -1, name: string): unknown {
  if (list.length === 0) throw new EvaluationError(`${name} called on empty list`);
  return list.reduce((best, each) => (compareValues(each, best) * sign > 0 ? each : best));
}

const isSorted = (list: readonly unknown[]): boolean =>
  list.every((each, index) => index === 0 || compareValues(list[index - 1], each) <= 0);

function flatten(list: readonly unknown[], depth: bigint): unknown[] {
  if (depth < 0n) throw new EvaluationError('level must be non-negative');
  return list.flatMap((each) => (Array.isArray(each) && depth > 0n ? flatten(each, depth - 1n) : [each]));
}

function distinct(list: readonly unknown[]): unknown[] {
  const simple = new Set<unknown>();
  const others: unknown[] = [];
  return list.filter((each) => {
    if (typeof each === 'string' || typeof each === 'bigint' || typeof each === 'boolean') {
      if (simple.has(each)) return false;
      simple.add(each);
      return true;
    }
    if (others.some((other) => valuesEqual(other, each))) return false;
    others.push(each);
    return true;
  });
}

function slice(list: readonly unknown[], start: bigint, end: bigint): unknown[] {
  if (start < 0n || end < 0n)
    throw new EvaluationError(`cannot slice(${start}, ${end}), negative indexes not supported`);
  if (start > end)
    throw new EvaluationError(`cannot slice(${start}, ${end}), start index must be less than or equal to end index`);
  if (end > BigInt(list.length))
    throw new EvaluationError(`cannot slice(${start}, ${end}), list is length ${list.length}`);
  return list.slice(Number(start), Number(end));
}

const maxRange = 1_000_000n;

function range(count: bigint): bigint[] {
  if (count > maxRange) throw new EvaluationError(`lists.range: ${count} is above ${maxRange}`);
  return Array.from({ length: Number(count < 0n ? 0n : count) }, (_, index) => BigInt(index));
}

/** The namespace `lists` of `lists.range`. */
export class ListsNamespace {}

export function addLists(environment: Environment): void {
  environment.registerType('ListsNamespace', ListsNamespace);
  environment.registerConstant('lists', 'ListsNamespace', new ListsNamespace());
  addFunctions(environment, {
    'list.isSorted(): bool': isSorted,
    'list.sum(): dyn': sum,
    'list.min(): dyn': (list: unknown[]) => extreme(list, -1, 'min'),
    'list.max(): dyn': (list: unknown[]) => extreme(list, 1, 'max'),
    'list.indexOf(dyn): int': (list: unknown[], value: unknown) =>
      BigInt(list.findIndex((each) => valuesEqual(each, value))),
    'list.lastIndexOf(dyn): int': (list: unknown[], value: unknown) =>
      BigInt(list.findLastIndex((each) => valuesEqual(each, value))),
    'list.flatten(): list': (list: unknown[]) => flatten(list, 1n),
    'list.flatten(int): list': flatten,
    'list.distinct(): list': distinct,
    'list.reverse(): list': (list: unknown[]) => [...list].reverse(),
    'list.sort(): list': (list: unknown[]) => [...list].sort(compareValues),
    'list.slice(int, int): list': slice,
    'list.first(): optional': (list: unknown[]) => Optional.of(list[0]),
    'list.last(): optional': (list: unknown[]) => Optional.of(list.at(-1)),
    'ListsNamespace.range(int): list<int>': (_: ListsNamespace, count: bigint) => range(count),
  });
}
