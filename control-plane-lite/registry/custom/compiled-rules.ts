// The rules of one place in a schema, compiled once for as long as the schema is in use.
import { declareTypes } from '../../cel/cel-schema.ts';
import { type Compilation, compileExpression, declare } from '../../cel/compile-expression.ts';
import { checkingEnvironment } from '../../cel/environment.ts';
import { celSchemaOf } from './cel-schema-of.ts';
import type { JsonSchema, ValidationRule } from './json-schema.ts';

export interface CompiledRule {
  rule: ValidationRule;
  /** Looks at the value that was there before. */
  isTransition: boolean;
  compiled: Compilation;
  message: Compilation | undefined;
}

let placeCount = 0;
const known = new WeakMap<JsonSchema, CompiledRule[]>();

/** Whether a rule names the previous value, outside of texts. */
function namesOldSelf(source: string): boolean {
  return /\boldSelf\b/.test(source.replace(/"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/g, ''));
}

/** The rules of a schema's place itself, not of its parts. `isWhole`: the place is the whole object. */
export function compiledRules(schema: JsonSchema, isWhole: boolean): CompiledRule[] {
  const found = known.get(schema);
  if (found !== undefined) return found;
  const rules = schema['x-kubernetes-validations'] ?? [];
  const compiled = rules.length === 0 ? [] : compile(schema, rules, isWhole);
  known.set(schema, compiled);
  return compiled;
}

function compile(schema: JsonSchema, rules: readonly ValidationRule[], isWhole: boolean): CompiledRule[] {
  placeCount += 1;
  const environment = checkingEnvironment.clone();
  const self = declareTypes(environment, celSchemaOf(schema, isWhole), `Self${placeCount % 10_000}`);
  const plain = declare({ self, oldSelf: self }, environment);
  const optional = declare({ self, oldSelf: `optional<${self}>` }, environment);
  return rules.map((rule) => {
    const names = rule.optionalOldSelf === true ? optional : plain;
    const { messageExpression = '' } = rule;
    return {
      rule,
      isTransition: namesOldSelf(rule.rule),
      compiled: compileExpression(rule.rule, names, ['bool']),
      message: messageExpression === '' ? undefined : compileExpression(messageExpression, names, ['string']),
    };
  });
}
