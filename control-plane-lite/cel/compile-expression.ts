// From the text of an expression to something that can be evaluated, or to the compiler's words about it.
import {
  type ASTNode,
  TypeError as CelTypeError,
  type Environment,
  EvaluationError,
  ParseError,
} from '@marcbachmann/cel-js';
import { type Budget, CostExceededError, perCallLimit } from './budget.ts';
import { checkingEnvironment, prepareExpression, runMetered } from './environment.ts';
import { rewriteExpression } from './expression-source.ts';

/** Names that expressions may use, with their types. */
export type Declarations = Environment;

/** An expression that compiled. */
export interface CompiledExpression {
  readonly source: string;
  /** The type of its result as far as known, `dyn` otherwise. */
  readonly type: string;
  /** The parsed expression, for estimates of its cost. */
  readonly ast: ASTNode;
  /** Throws CelError; costs are taken off the budget. */
  evaluate(variables: Readonly<Record<string, unknown>>, budget: Budget): unknown;
}

export type Compilation = { ok: true; expression: CompiledExpression } | { ok: false; message: string };

/** An evaluation that failed, in the reference's words. */
export class CelError extends Error {
  /** Whether it was stopped for its cost. */
  readonly isCost: boolean;

  constructor(message: string, isCost: boolean, cause?: unknown) {
    super(message, { cause });
    this.isCost = isCost;
  }
}

const maxSourceLength = 100_000;

/** Names for expressions: types by name, `dyn` for what is not known. */
export function declare(
  variables: Readonly<Record<string, string>>,
  base: Environment = checkingEnvironment,
): Declarations {
  const environment = base.clone();
  for (const [name, type] of Object.entries(variables)) environment.registerVariable(name, type);
  return environment;
}

type LibraryError =
  | InstanceType<typeof ParseError>
  | InstanceType<typeof EvaluationError>
  | InstanceType<typeof CelTypeError>;

const isLibraryError = (error: unknown): error is LibraryError =>
  error instanceof ParseError || error instanceof EvaluationError || error instanceof CelTypeError;

/** The library's words in those of the reference. */
function translate(summary: string): string {
  const words: [RegExp, string | ((...match: string[]) => string)][] = [
    [/^Unknown variable: (.*)$/s, (_, name) => `undeclared reference to '${name}' (in container '')`],
    [/^No such key: index out of bounds, index (-?\d+).*$/s, (_, index) => `index out of bounds: ${index}`],
    [/^integer overflow.*$/s, 'integer overflow'],
    [/^modulo by zero$/, 'modulus by zero'],
    [/^No such key: (.*)$/s, (_, key) => `no such key: ${key}`],
    [
      /^no such overload: (\S+) (==|!=|<=|>=|<|>|\+|-|\*|\/|%|in) (\S.*)$/s,
      (_, a, op, b) => `found no matching overload for '${op === 'in' ? '@in' : `_${op}_`}' applied to '(${a}, ${b})'`,
    ],
    [
      /^found no matching overload for '([^(]*)\.(\w+)\((.*)\)'$/s,
      (_, receiver, name, args) => `found no matching overload for '${name}' applied to '${receiver}.(${args})'`,
    ],
    [
      /^found no matching overload for '(\w+)\((.*)\)'$/s,
      (_, name, args) => `found no matching overload for '${name}' applied to '(${args})'`,
    ],
    [
      /^Logical operator requires bool operands, got '(.*)'$/s,
      (_, type) => `found no matching overload for '_&&_' applied to '(bool, ${type})'`,
    ],
  ];
  for (const [pattern, replacement] of words) {
    if (pattern.test(summary)) return summary.replace(pattern, replacement as string);
  }
  return summary.replaceAll(/dyn<(\w+)>/g, '$1');
}

/** The compiler's message: where, what, and a line that points there. */
function describeProblem(error: unknown, source: string): string {
  if (!isLibraryError(error)) return `ERROR: <input>:1:1: ${error instanceof Error ? error.message : String(error)}`;
  const start = Math.min(error.range?.start ?? 0, source.length);
  const before = source.slice(0, start);
  const line = before.split('\n').length;
  const column = start - before.lastIndexOf('\n') - 1;
  const text = source.split('\n')[line - 1] ?? '';
  const kind = error instanceof ParseError ? 'Syntax error: ' : '';
  const summary = error.summary.startsWith('No such key: ')
    ? `undefined field '${error.summary.slice('No such key: '.length)}'`
    : translate(error.summary);
  return `ERROR: <input>:${line}:${column + 1}: ${kind}${summary}\n | ${text}\n | ${'.'.repeat(column)}^`;
}

/** Regular expressions run in linear time under a name of their own. */
function redirectMatches(value: unknown): void {
  if (Array.isArray(value)) {
    for (const item of value) redirectMatches(item);
    return;
  }
  if (typeof value !== 'object' || value === null || !('op' in value)) return;
  const node = value as { op: string; args: unknown };
  if ((node.op === 'rcall' || node.op === 'call') && Array.isArray(node.args) && node.args[0] === 'matches') {
    node.args[0] = 'linearMatches';
  }
  redirectMatches(node.args);
}

function failureOf(error: unknown): CelError {
  if (error instanceof CostExceededError) return new CelError(error.message, true, error);
  if (isLibraryError(error)) return new CelError(translate(error.summary), false, error);
  if (error instanceof RangeError) return new CelError('operation cancelled: actual cost limit exceeded', true, error);
  return new CelError(error instanceof Error ? error.message : String(error), false, error);
}

const fits = (type: string, wanted: readonly string[]): boolean =>
  type === 'dyn' || type.startsWith('dyn<') || wanted.some((each) => type === each || type.startsWith(`${each}<`));

/** Compiles against declared names. `wanted` are the types that the result may have; absent: any. */
export function compileExpression(source: string, declarations: Declarations, wanted?: readonly string[]): Compilation {
  if (source.length > maxSourceLength) return { ok: false, message: 'compilation failed: expression is too long' };
  try {
    const rewritten = rewriteExpression(source);
    const checked = declarations.parse(rewritten);
    redirectMatches(checked.ast);
    const { valid, type = 'dyn', error } = checked.check();
    if (!valid) throw error ?? new Error('the expression is not valid');
    if (wanted !== undefined && !fits(type, wanted)) {
      const types = wanted.length === 1 ? (wanted[0] ?? '') : `one of [${wanted.join(' ')}]`;
      return { ok: false, message: `must evaluate to ${types}` };
    }
    const prepared = prepareExpression(rewritten);
    redirectMatches(prepared.ast);
    const evaluate = (variables: Readonly<Record<string, unknown>>, budget: Budget): unknown => {
      const limit = Math.min(perCallLimit, budget.remaining);
      try {
        const { result, cost } = runMetered(limit, () => prepared(variables) as unknown);
        budget.remaining -= cost;
        return result;
      } catch (error) {
        const failure = failureOf(error);
        if (failure.isCost) budget.remaining -= limit;
        throw failure;
      }
    };
    return { ok: true, expression: { source, type, ast: checked.ast, evaluate } };
  } catch (error) {
    return { ok: false, message: `compilation failed: ${describeProblem(error, source)}` };
  }
}
