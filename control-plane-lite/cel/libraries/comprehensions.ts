// Macros over optionals, and comprehensions with two variables: index and value of lists, key and value of maps.
import type { ASTNode, Environment } from '@marcbachmann/cel-js';
import { EvaluationError, Optional } from '@marcbachmann/cel-js';

/** The part of the library's checker, evaluator and scopes that macros get. */
interface Scope {
  forkWithVariable(name: string, type: unknown): Scope;
  reuse(parent: Scope): Scope;
  setIterValue(value: unknown, evaluator: Evaluator): Scope;
}
interface CheckedType {
  kind: string;
  valueType?: CheckedType;
  keyType?: CheckedType;
}
interface Checker {
  check(node: ASTNode, scope: Scope): CheckedType;
  getType(name: string): CheckedType;
  createError(code: string, message: string, node: ASTNode): Error;
}
interface Evaluator {
  run(node: ASTNode, scope: Scope): unknown;
}
interface MacroCall {
  args: ASTNode[];
  receiver: ASTNode;
}

function nameOf(node: ASTNode | undefined): string {
  if (node?.op === 'id') return node.args;
  throw new EvaluationError({ message: 'argument must be a simple name', ...(node === undefined ? {} : { node }) });
}

/** Index and item of a list, key and value of a map. */
function entriesOf(value: unknown): [unknown, unknown][] {
  if (Array.isArray(value)) return value.map((item, index) => [BigInt(index), item]);
  if (value instanceof Map) return [...value];
  if (typeof value === 'object' && value !== null && value.constructor === Object) return Object.entries(value);
  throw new EvaluationError(
    'expression of this type cannot be range of a comprehension (must be list, map, or dynamic)',
  );
}

type Each = (key: unknown, value: unknown) => unknown;
type Fold = (entries: [unknown, unknown][], bodies: Each[]) => unknown;

const asBool = (value: unknown): boolean => {
  if (typeof value === 'boolean') return value;
  throw new EvaluationError('no such overload');
};

/** As the language has it: an error counts only when no other item decides. */
function quantifier(decisive: boolean): Fold {
  return (entries, [body]) => {
    let failure: unknown;
    for (const [key, value] of entries) {
      try {
        if (asBool(body?.(key, value)) === decisive) return decisive;
      } catch (error) {
        failure ??= error;
      }
    }
    if (failure !== undefined) throw failure;
    return !decisive;
  };
}

const passes = (bodies: Each[], key: unknown, value: unknown): boolean =>
  bodies.length < 2 || asBool(bodies[0]?.(key, value));

const folds: Record<string, { bodies: number[]; result: string; fold: Fold }> = {
  all: { bodies: [1], result: 'bool', fold: quantifier(false) },
  exists: { bodies: [1], result: 'bool', fold: quantifier(true) },
  existsOne: {
    bodies: [1],
    result: 'bool',
    fold: (entries, [body]) => entries.filter(([key, value]) => asBool(body?.(key, value))).length === 1,
  },
  transformList: {
    bodies: [1, 2],
    result: 'list',
    fold: (entries, bodies) =>
      entries.filter(([key, value]) => passes(bodies, key, value)).map(([key, value]) => bodies.at(-1)?.(key, value)),
  },
  transformMap: {
    bodies: [1, 2],
    result: 'map',
    fold: (entries, bodies) =>
      Object.fromEntries(
        entries
          .filter(([key, value]) => passes(bodies, key, value))
          .map(([key, value]) => [String(key), bodies.at(-1)?.(key, value)]),
      ),
  },
  transformMapEntry: {
    bodies: [1, 2],
    result: 'map',
    fold: (entries, bodies) =>
      Object.assign(
        {},
        ...entries
          .filter(([key, value]) => passes(bodies, key, value))
          .map(([key, value]) => bodies.at(-1)?.(key, value) as object),
      ),
  },
};

function twoVariables({ args, receiver }: MacroCall, result: string, fold: Fold): object {
  const [keyName, valueName] = [nameOf(args[0]), nameOf(args[1])];
  const bodies = args.slice(2);
  let outer: Scope | undefined;
  let inner: Scope | undefined;
  return {
    typeCheck: (checker: Checker, _macro: unknown, scope: Scope) => {
      const type = checker.check(receiver, scope);
      const dyn = checker.getType('dyn');
      const keyType = type.kind === 'list' ? checker.getType('int') : type.kind === 'map' ? (type.keyType ?? dyn) : dyn;
      outer = scope.forkWithVariable(keyName, keyType);
      inner = outer.forkWithVariable(valueName, type.valueType ?? dyn);
      for (const body of bodies) checker.check(body, inner);
      return checker.getType(result);
    },
    evaluate: (evaluator: Evaluator, _macro: unknown, scope: Scope) => {
      const entries = entriesOf(evaluator.run(receiver, scope));
      const within = bodies.map((body) => (key: unknown, value: unknown) => {
        if (outer === undefined || inner === undefined) throw new Error('a comprehension was evaluated unchecked');
        const first = outer.reuse(scope).setIterValue(key, evaluator);
        return evaluator.run(body, inner.reuse(first).setIterValue(value, evaluator));
      });
      return fold(entries, within);
    },
  };
}

function optionalMacro({ args, receiver }: MacroCall, isFlat: boolean): object {
  const name = nameOf(args[0]);
  const [, body] = args;
  let inner: Scope | undefined;
  return {
    typeCheck: (checker: Checker, _macro: unknown, scope: Scope) => {
      const type = checker.check(receiver, scope);
      inner = scope.forkWithVariable(name, type.valueType ?? checker.getType('dyn'));
      if (body !== undefined) checker.check(body, inner);
      return checker.getType('optional');
    },
    evaluate: (evaluator: Evaluator, _macro: unknown, scope: Scope) => {
      const value = evaluator.run(receiver, scope);
      if (!(value instanceof Optional)) throw new EvaluationError('no such overload');
      if (!value.hasValue() || inner === undefined || body === undefined) return Optional.none();
      const mapped = evaluator.run(body, inner.reuse(scope).setIterValue(value.value(), evaluator));
      return isFlat ? mapped : Optional.of(mapped);
    },
  };
}

export function addComprehensions(environment: Environment): void {
  const macro = (signature: string, expand: (call: MacroCall) => object) =>
    environment.registerFunction(signature, expand as (...args: unknown[]) => unknown);
  for (const [name, { bodies, result, fold }] of Object.entries(folds)) {
    for (const count of bodies) {
      const parameters = Array(2 + count)
        .fill('ast')
        .join(', ');
      macro(`list.${name}(${parameters}): ${result}`, (call) => twoVariables(call, result, fold));
    }
  }
  macro('optional.optMap(ast, ast): optional', (call) => optionalMacro(call, false));
  macro('optional.optFlatMap(ast, ast): optional', (call) => optionalMacro(call, true));
}
