// Conditions in the expression language that a request must meet before a webhook or a policy looks at it.
import type { MatchCondition } from '#kube/api/generated/admissionregistration-v1.ts';
import type { Budget } from '../../cel/budget.ts';
import { CelError, type Compilation, compileExpression, type Declarations } from '../../cel/compile-expression.ts';

export interface CompiledCondition {
  name: string;
  compiled: Compilation;
}

export type ConditionVerdict =
  | { verdict: 'met' }
  | { verdict: 'unmet'; name: string }
  | { verdict: 'error'; message: string };

export function compileConditions(
  conditions: readonly MatchCondition[] | undefined,
  names: Declarations,
): CompiledCondition[] {
  return (conditions ?? []).map(({ name, expression }) => ({
    name,
    compiled: compileExpression(expression, names, ['bool']),
  }));
}

/** One that is not met decides, even where others cannot be evaluated. */
export function evaluateConditions(
  conditions: readonly CompiledCondition[],
  variables: Readonly<Record<string, unknown>>,
  budget: Budget,
): ConditionVerdict {
  const errors: string[] = [];
  for (const { name, compiled } of conditions) {
    if (!compiled.ok) {
      errors.push(compiled.message);
      continue;
    }
    try {
      if (compiled.expression.evaluate(variables, budget) !== true) return { verdict: 'unmet', name };
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      errors.push(`expression '${compiled.expression.source}' resulted in error: ${error.message}`);
    }
  }
  if (errors.length === 0) return { verdict: 'met' };
  return { verdict: 'error', message: errors.length === 1 ? (errors[0] ?? '') : `[${errors.join(', ')}]` };
}
