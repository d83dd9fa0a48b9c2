// The language as Kubernetes has it: the library's, with Kubernetes' functions, regular expressions in linear time and
// every step metered.
import { type ASTNode, Environment, EvaluationError, Optional } from '@marcbachmann/cel-js';
import { CostExceededError, Meter, sizeOfValue } from './budget.ts';
import { addFunctions } from './function-table.ts';
import { addAuthorizer } from './libraries/authorizer.ts';
import { addComprehensions } from './libraries/comprehensions.ts';
import { addLists } from './libraries/lists.ts';
import { addNetwork } from './libraries/network.ts';
import { addSets } from './libraries/sets.ts';
import { addStrings } from './libraries/strings.ts';
import { addVersions } from './libraries/versions.ts';
import { JsonPatchOperation, ObjectLiteral } from './object-literal.ts';

interface RunningEvaluator {
  run(node: ASTNode, scope: unknown): unknown;
}
type EvaluatedNode = ASTNode & { evaluate(evaluator: RunningEvaluator, node: ASTNode, scope: unknown): unknown };

/** The namespace `jsonpatch` of `jsonpatch.escapeKey`. */
class JsonPatchNamespace {}

function withEntries(map: Record<string, unknown>, optional: Record<string, unknown>): Record<string, unknown> {
  const result = { ...map };
  for (const [key, value] of Object.entries(optional)) {
    if (!(value instanceof Optional)) throw new EvaluationError(`no such overload`);
    if (value.hasValue()) result[key] = value.value();
  }
  return result;
}

function withItems(list: unknown[], optional: unknown[]): unknown[] {
  return [
    ...list,
    ...optional.flatMap((item) => (item instanceof Optional ? (item.hasValue() ? [item.value()] : []) : [item])),
  ];
}

function newObject(type: string, fields: Record<string, unknown>): ObjectLiteral | JsonPatchOperation {
  if (type === 'JSONPatch') return new JsonPatchOperation(fields);
  if (type !== 'Object' && !type.startsWith('Object.')) throw new EvaluationError(`undeclared reference to '${type}'`);
  return new ObjectLiteral(fields);
}

function addLibraries(environment: Environment): Environment {
  addLists(environment);
  addStrings(environment);
  addNetwork(environment);
  addVersions(environment);
  addSets(environment);
  addComprehensions(environment);
  addAuthorizer(environment);
  environment.registerType('Object', ObjectLiteral);
  environment.registerType('JSONPatch', JsonPatchOperation);
  environment.registerType('JsonPatchNamespace', JsonPatchNamespace);
  environment.registerConstant('jsonpatch', 'JsonPatchNamespace', new JsonPatchNamespace());
  addFunctions(environment, {
    'newObject(string, map): dyn': newObject,
    'withOptionalEntries(map, map): map': withEntries,
    'withOptionalItems(list, list): list': withItems,
    'JsonPatchNamespace.escapeKey(string): string': (_: JsonPatchNamespace, key: string) =>
      key.replaceAll('~', '~0').replaceAll('/', '~1'),
  });
  return environment;
}

const options = {
  enableOptionalTypes: true,
  homogeneousAggregateLiterals: false,
  limits: { maxAstNodes: 20_000, maxDepth: 100 },
};

/** Checks expressions against declared names and types; cloned before anything is declared. */
export const checkingEnvironment = addLibraries(new Environment(options));

// Costs of single steps; everything else costs one.
const stepCosts: Partial<Record<string, number>> = { value: 0, list: 10, map: 30, '&&': 0, '||': 0, '?:': 0, '!_': 0 };
// Steps whose work grows with the size of what they work on.
const bySize = new Set(['+', '==', '!=', 'in', '<', '<=', '>', '>=', 'call', 'rcall']);

let meter: Meter | undefined;

/** Evaluates: names are looked up when needed. */
const runningEnvironment = addLibraries(new Environment({ ...options, unlistedVariablesAreDyn: true }));

/** Every step goes through `run` of the one evaluator of the environment, which a macro is given. */
function installMeter(environment: Environment): void {
  const install = ({ args }: { args: ASTNode[] }) => ({
    typeCheck: (checker: { getType(name: string): unknown }) => checker.getType('bool'),
    evaluate: (evaluator: RunningEvaluator) => {
      evaluator.run = function run(this: RunningEvaluator, node, scope) {
        const current = meter;
        if (current === undefined) return (node as EvaluatedNode).evaluate(this, node, scope);
        current.charge(stepCosts[node.op] ?? 1);
        const outer = current.partSize;
        current.partSize = 0;
        const result = (node as EvaluatedNode).evaluate(this, node, scope);
        if (bySize.has(node.op)) current.charge(current.partSize * 0.1);
        current.partSize = outer + sizeOfValue(result);
        return result;
      };
      return args.length > 0;
    },
  });
  environment.registerFunction('installMeter(ast): bool', install as (...args: unknown[]) => unknown);
  environment.evaluate('installMeter(true)');
}
installMeter(runningEnvironment);

/** Parses for evaluation. */
export function prepareExpression(source: string): ReturnType<Environment['parse']> {
  return runningEnvironment.parse(source);
}

/** Runs an expression with what it may cost; nested evaluations share the outer one's meter. */
export function runMetered<T>(limit: number, run: () => T): { result: T; cost: number } {
  const outer = meter;
  const own = new Meter(limit);
  meter = own;
  try {
    const result = run();
    if (own.isExceeded) throw new CostExceededError();
    return { result, cost: own.spent };
  } catch (error) {
    if (own.isExceeded) throw new CostExceededError();
    throw error;
  } finally {
    meter = outer;
  }
}
