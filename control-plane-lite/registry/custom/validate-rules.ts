// Rules of a custom resource's schema in the expression language, with the texts of the reference.
// Source of the rules: the reference's apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go.
import { isDeepStrictEqual } from 'node:util';
import type { FieldError } from '#kube/errors/field-error.ts';
import { forbiddenField, invalidField, requiredField } from '#kube/errors/field-error.ts';
import { Budget } from '../../cel/budget.ts';
import { CelError } from '../../cel/compile-expression.ts';
import { optionalOf, toCelValue } from '../../cel/values.ts';
import { celSchemaOf } from './cel-schema-of.ts';
import { type CompiledRule, compiledRules } from './compiled-rules.ts';
import { previousField, previousItem } from './correlate.ts';
import { additionalOf, type JsonSchema, type ValidationRule } from './json-schema.ts';

const outOfBudget = 'validation failed due to running out of cost budget, no further validation rules will be run';

/** Thrown once when no more rules are to be run. */
class Exhausted extends Error {}

interface Place {
  path: string;
  isWhole: boolean;
}

/** The whole object has no path: the reference shows that so. */
const shownPath = ({ path }: Place): string => (path === '' ? '<nil>' : path);

function refusal(
  { reason = 'FieldValueInvalid', fieldPath = '' }: ValidationRule,
  place: Place,
  type: string,
  message: string,
): FieldError {
  const field =
    fieldPath === ''
      ? shownPath(place)
      : `${place.path}${place.path === '' ? fieldPath.replace(/^\./, '') : fieldPath}`;
  switch (reason) {
    case 'FieldValueForbidden':
      return forbiddenField(field, message);
    case 'FieldValueRequired':
      return requiredField(field, message);
    case 'FieldValueDuplicate':
      return { field, reason, message: `Duplicate value: ${JSON.stringify(type)}` };
    default:
      return invalidField(field, type, message);
  }
}

class RuleValidator {
  readonly #budget = new Budget();

  readonly #isUpdate: boolean;
  readonly errors: FieldError[] = [];

  constructor(isUpdate: boolean) {
    this.#isUpdate = isUpdate;
  }

  /** `previous` is undefined where nothing was there, or nothing that can be told to be the same. */
  visit(value: unknown, previous: unknown, schema: JsonSchema, place: Place): void {
    if (value === null || value === undefined) return;
    const isSame = previous !== undefined && isDeepStrictEqual(value, previous);
    const rules = compiledRules(schema, place.isWhole);
    if (rules.length > 0) this.#run(rules, value, previous, schema, place, isSame);
    if (Array.isArray(value)) {
      const { items } = schema;
      if (items === undefined || !hasRules(items)) return;
      for (const [index, item] of value.entries()) {
        const before = previousItem(item, previous, schema);
        this.visit(item, before, items, { path: `${place.path}[${index}]`, isWhole: false });
      }
      return;
    }
    if (typeof value !== 'object') return;
    const additional = additionalOf(schema);
    for (const [name, item] of Object.entries(value)) {
      const part = schema.properties?.[name] ?? additional;
      if (part === undefined || !hasRules(part) || (place.isWhole && name === 'metadata')) continue;
      const isKey = schema.properties?.[name] === undefined;
      const dotted = place.path === '' ? name : `${place.path}.${name}`;
      const path = isKey ? `${place.path}[${name}]` : dotted;
      this.visit(item, previousField(name, previous, schema), part, { path, isWhole: false });
    }
  }

  #run(
    rules: readonly CompiledRule[],
    value: unknown,
    previous: unknown,
    schema: JsonSchema,
    place: Place,
    isSame: boolean,
  ): void {
    const shape = celSchemaOf(schema, place.isWhole);
    const self = toCelValue(value, shape);
    const oldSelf = previous === undefined || previous === null ? undefined : toCelValue(previous, shape);
    const type = schema['x-kubernetes-int-or-string'] === true ? '' : (schema.type ?? '');
    for (const each of rules) {
      const { rule } = each;
      const isOptional = rule.optionalOldSelf === true;
      if (each.isTransition && !isOptional && (oldSelf === undefined || !this.#isUpdate)) continue;
      // What holds for a value that did not change held before, or was let be.
      if (isSame && !each.isTransition) continue;
      const variables = {
        self,
        ...(isOptional ? { oldSelf: optionalOf(oldSelf) } : oldSelf === undefined ? {} : { oldSelf }),
      };
      this.#one(each, variables, place, type);
    }
  }

  #one(
    { rule, compiled, message }: CompiledRule,
    variables: Record<string, unknown>,
    place: Place,
    type: string,
  ): void {
    const shown = (rule.message ?? '').trim() || rule.rule.trim();
    if (!compiled.ok) {
      this.errors.push(invalidField(shownPath(place), type, `rule compile error: ${compiled.message}`));
      return;
    }
    try {
      if (compiled.expression.evaluate(variables, this.#budget) === true) return;
      let text = (rule.message ?? '').trim();
      if (message?.ok === true)
        text = this.#messageOf(() => message.expression.evaluate(variables, this.#budget)) ?? text;
      this.errors.push(refusal(rule, place, type, text === '' ? `failed rule: ${rule.rule.trim()}` : text));
    } catch (error) {
      if (!(error instanceof CelError)) throw error;
      if (error.isCost) {
        const why =
          this.#budget.remaining > 0
            ? `'${error.message}': no further validation rules will be run due to call cost exceeds limit for rule: ${shown}`
            : outOfBudget;
        this.errors.push(invalidField(shownPath(place), type, why));
        throw new Exhausted();
      }
      const why = error.message.startsWith('no such overload')
        ? `'${error.message}': call arguments did not match a supported operator, function or macro signature for rule: ${shown}`
        : `${error.message} evaluating rule: ${shown}`;
      this.errors.push(invalidField(shownPath(place), type, why));
    }
  }

  /** A message that cannot be made gives way to the fixed one. */
  #messageOf(evaluate: () => unknown): string | undefined {
    try {
      const text = evaluate();
      if (typeof text !== 'string') return undefined;
      const trimmed = text.trim();
      return trimmed === '' || trimmed.includes('\n') ? undefined : trimmed;
    } catch (error) {
      if (!(error instanceof CelError) || error.isCost) throw error;
      return undefined;
    }
  }
}

const withRules = new WeakMap<JsonSchema, boolean>();

/** Whether a schema or any of its parts has rules. */
export function hasRules(schema: JsonSchema): boolean {
  const known = withRules.get(schema);
  if (known !== undefined) return known;
  const parts = [...Object.values(schema.properties ?? {}), schema.items, additionalOf(schema)];
  const has =
    (schema['x-kubernetes-validations'] ?? []).length > 0 || parts.some((part) => part !== undefined && hasRules(part));
  withRules.set(schema, has);
  return has;
}

/** What an object breaks of the rules of its schema; with the object it replaces, also of those about changes. */
export function validateRules(object: object, schema: JsonSchema, previous?: object): FieldError[] {
  if (!hasRules(schema)) return [];
  const validator = new RuleValidator(previous !== undefined);
  try {
    validator.visit(object, previous, schema, { path: '', isWhole: true });
  } catch (error) {
    if (!(error instanceof Exhausted)) throw error;
  }
  return validator.errors;
}
