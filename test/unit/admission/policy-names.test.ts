// Variables of policies: evaluated when they are named, each once.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { declarePolicyNames, lazyVariables } from '../../../control-plane-lite/admission/policy/policy-names.ts';
import { Budget } from '../../../control-plane-lite/cel/budget.ts';
import { CelError, compileExpression } from '../../../control-plane-lite/cel/compile-expression.ts';

describe('variables of policies', () => {
  const names = declarePolicyNames(
    [
      { name: 'size', expression: 'object.size' },
      { name: 'isOdd', expression: 'variables.size % 2 == 1' },
      { name: 'broken', expression: 'object.nope == 1' },
    ],
    false,
  );
  const evaluate = (source: string, object: Record<string, unknown>) => {
    const compiled = compileExpression(source, names.all, ['bool']);
    assert.ok(compiled.ok, compiled.ok ? '' : compiled.message);
    const budget = new Budget();
    const variables = lazyVariables(names.variables, { object }, budget);
    return compiled.expression.evaluate({ object, variables }, budget);
  };

  it('may name those before them, and are evaluated only where they are named', () => {
    assert.equal(evaluate('variables.isOdd && variables.size > 2', { size: 3n }), true);
    assert.throws(
      () => evaluate('variables.broken', { size: 3n }),
      (error) => error instanceof CelError && error.message === 'no such key: nope',
    );
  });

  it('are evaluated once, however often they are named', () => {
    let reads = 0;
    const object = Object.defineProperty({}, 'size', {
      get: () => {
        reads += 1;
        return 3n;
      },
    });
    assert.equal(
      evaluate('variables.size == 3 && variables.isOdd && variables.size + variables.size == 6', object),
      true,
    );
    assert.equal(reads, 1);
  });

  it('that are not declared are refused', () => {
    const compiled = compileExpression('variables.other == 1', names.all);
    assert.ok(!compiled.ok && compiled.message.includes("undefined field 'other'"));
  });
});
