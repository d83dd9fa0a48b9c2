// Bounds the cost of a schema's rules before any object is there: from the sizes that the schema allows.
// The limits are the reference's (apiextensions-apiserver/pkg/apiserver/schema/cel/celcoststability and validation).
import { type FieldError, forbiddenField } from '#kube/errors/field-error.ts';
import { estimateCost } from '../../cel/estimate-cost.ts';
import { celSchemaOf } from './cel-schema-of.ts';
import { compiledRules } from './compiled-rules.ts';
import { additionalOf, type JsonSchema } from './json-schema.ts';

const ruleLimit = 10_000_000;
const schemaLimit = 100_000_000;
const requestBytes = 3_145_728;

/** How many values of a kind a request could hold at most, from the fewest bytes that one takes. */
function mostItems(schema: JsonSchema): number {
  const smallest = schema.type === 'object' || schema.type === 'array' ? 2 : schema.type === 'string' ? 2 : 1;
  return Math.floor(requestBytes / (smallest + 1));
}

function describe(cost: number, limit: number): string {
  const factor = cost / limit;
  if (factor > 100) return 'more than 100x';
  return factor < 1.5 ? `${Math.round(factor * 100) / 100}x` : `${factor.toFixed(1)}x`;
}

/** Rules that could cost too much, and schemas whose rules together could. */
export function estimateRules(schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  let total = 0;
  const visit = (part: JsonSchema, at: string, times: number, isRoot: boolean): void => {
    for (const [index, { compiled }] of compiledRules(part, isRoot).entries()) {
      if (!compiled.ok) continue;
      const shape = celSchemaOf(part, isRoot);
      const cost = estimateCost(compiled.expression.ast, { self: shape, oldSelf: shape }) * times;
      total += cost;
      if (cost > ruleLimit) {
        const where = `${at}.x-kubernetes-validations[${index}].rule`;
        const why = `estimated rule cost exceeds budget by factor of ${describe(cost, ruleLimit)} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
        errors.push(forbiddenField(where, why));
      }
    }
    for (const [name, property] of Object.entries(part.properties ?? {}))
      visit(property, `${at}.properties[${name}]`, times, false);
    const additional = additionalOf(part);
    const most = (bound: number | undefined, inner: JsonSchema) =>
      Math.min(bound ?? Number.POSITIVE_INFINITY, mostItems(inner));
    if (additional !== undefined)
      visit(additional, `${at}.additionalProperties`, times * most(part.maxProperties, additional), false);
    if (part.items !== undefined) visit(part.items, `${at}.items`, times * most(part.maxItems, part.items), false);
  };
  visit(schema, path, 1, true);
  if (total > schemaLimit) {
    const why = `x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of ${describe(total, schemaLimit)} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)`;
    errors.push(forbiddenField(path, why));
  }
  return errors;
}
