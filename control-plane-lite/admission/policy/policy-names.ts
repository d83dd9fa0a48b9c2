// What the expressions of a policy may name, and its variables: evaluated when they are first used, each once.
import type { Variable } from '#kube/api/generated/admissionregistration-v1.ts';
import type { Budget } from '../../cel/budget.ts';
import {
  CelError,
  type Compilation,
  type CompiledExpression,
  compileExpression,
  type Declarations,
  declare,
} from '../../cel/compile-expression.ts';
import { checkingEnvironment } from '../../cel/environment.ts';

const shared = { oldObject: 'dyn', request: 'dyn', authorizer: 'dyn', namespaceObject: 'dyn', params: 'dyn' };

let count = 0;

export interface CompiledVariable {
  name: string;
  compiled: Compilation;
}

export interface PolicyNames {
  /** For conditions, which come before variables. */
  conditions: Declarations;
  /** For everything else. */
  all: Declarations;
  variables: CompiledVariable[];
}

/** Whether a type can be declared for a field by its name. */
const isDeclarable = (type: string): boolean =>
  /^(bool|int|uint|double|string|bytes|dyn|list<dyn>|list<string>|list<int>)$/.test(type);

/** Each variable may name those before it. `object` is the type of the object, where it is known. */
export function declarePolicyNames(
  variables: readonly Variable[] | undefined,
  hasParams: boolean,
  base = checkingEnvironment,
  object = 'dyn',
): PolicyNames {
  const { params: _params, ...others } = shared;
  const names = { object, ...(hasParams ? shared : others), oldObject: object };
  const conditions = declare(names, base);
  const fields: Record<string, string> = {};
  const compiled: CompiledVariable[] = [];
  const within = (): Declarations => {
    count += 1;
    const environment = base.clone();
    const type = `kubernetes.Variables${count % 10_000}`;
    environment.registerType(type, { fields: { ...fields } });
    return declare({ ...names, variables: type }, environment);
  };
  for (const { name, expression } of variables ?? []) {
    const each = compileExpression(expression, within());
    compiled.push({ name, compiled: each });
    fields[name] = each.ok && isDeclarable(each.expression.type) ? each.expression.type : 'dyn';
  }
  return { conditions, all: within(), variables: compiled };
}

/** The value of `variables` for one evaluation. */
export function lazyVariables(
  compiled: readonly CompiledVariable[],
  names: Readonly<Record<string, unknown>>,
  budget: Budget,
): Record<string, unknown> {
  const values: Record<string, unknown> = {};
  const known = new Map<string, { value: unknown } | { error: unknown }>();
  const read = (name: string, expression: CompiledExpression): unknown => {
    let outcome = known.get(name);
    if (outcome === undefined) {
      try {
        outcome = { value: expression.evaluate({ ...names, variables: values }, budget) };
      } catch (error) {
        outcome = { error };
      }
      known.set(name, outcome);
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  };
  for (const { name, compiled: each } of compiled) {
    const get = (): unknown => {
      if (each.ok) return read(name, each.expression);
      throw new CelError(`composited variable ${JSON.stringify(name)} fails to compile: ${each.message}`, false);
    };
    // Not enumerable: only naming a variable evaluates it, never looking at all of them.
    Object.defineProperty(values, name, { enumerable: false, configurable: true, get });
  }
  return values;
}
