// Tells policies which of their expressions cannot be right for the kinds that they are about.
// Source of the rules: the reference's admission/plugin/policy/validating/typechecking.go.
import type { ExpressionWarning, ValidatingAdmissionPolicy } from '#kube/api/generated/admissionregistration-v1.ts';
import { type CelSchema, declareTypes } from '../../cel/cel-schema.ts';
import { compileExpression } from '../../cel/compile-expression.ts';
import { checkingEnvironment } from '../../cel/environment.ts';
import { celSchemaOf } from '../../registry/custom/cel-schema-of.ts';
import type { JsonSchema } from '../../registry/custom/json-schema.ts';
import type { ResourceTable } from '../../registry/resource-table.ts';
import type { Schema, Type } from '../../registry/schema.ts';
import { declarePolicyNames } from './policy-names.ts';

const mostKinds = 10;
const deepest = 8;

interface Kind {
  group: string;
  version: string;
  kind: string;
}

/** A type of the API as expressions see it; what recurs too deeply is open. */
export function celSchemaOfType(type: Type, depth = 0): CelSchema {
  if (depth > deepest) return {};
  switch (type.kind) {
    case 'scalar':
      return type.format === 'int-or-string' || type.format === 'quantity'
        ? { intOrString: true }
        : { type: type.type, format: type.format };
    case 'list':
      return { type: 'array', items: celSchemaOfType(type.items, depth + 1) };
    case 'map':
      return { type: 'object', additional: celSchemaOfType(type.values, depth + 1) };
    case 'object': {
      if (type.keepsUnknown === true) return {};
      const fields = [...type.fields].map(([name, field]) => [name, celSchemaOfType(field.type, depth + 1)] as const);
      return { type: 'object', properties: Object.fromEntries(fields) };
    }
    case 'any':
      return {};
    default:
      return type satisfies never;
  }
}

/** A custom kind by the schema of its definition, which says more than what the server makes of it. */
function celSchemaOfKind(kind: Kind, isCustom: boolean, schema: Schema): CelSchema {
  const known = celSchemaOfType(schema.typeOf(kind));
  if (!isCustom) return known;
  const raw = schema.definitions[schema.nameOf(kind) ?? ''] as JsonSchema | undefined;
  const { metadata } = known.properties ?? {};
  const own = celSchemaOf(raw ?? {});
  return { ...own, properties: { ...own.properties, ...(metadata === undefined ? {} : { metadata }) } };
}

/** The kinds that a policy names outright: what has stars could be anything. */
function namedKinds({ spec }: ValidatingAdmissionPolicy, table: ResourceTable): (Kind & { isCustom: boolean })[] {
  const kinds = new Map<string, Kind & { isCustom: boolean }>();
  for (const { apiGroups = [], apiVersions = [], resources = [] } of spec.matchConstraints?.resourceRules ?? []) {
    for (const group of apiGroups) {
      for (const version of apiVersions) {
        for (const plural of resources) {
          const served = table.find(group, version, plural);
          if (served === undefined) continue;
          const { kind } = served.resource;
          kinds.set(`${group}/${version}/${kind}`, { group, version, kind, isCustom: served.isCustom === true });
        }
      }
    }
  }
  return [...kinds.values()].slice(0, mostKinds);
}

const named = ({ group, version, kind }: Kind): string => `${group === '' ? '' : `${group}/`}${version}, Kind=${kind}`;

let count = 0;

/** One warning for each expression that is wrong, for all the kinds for which it is. */
export function computeTypeWarnings(
  policy: ValidatingAdmissionPolicy,
  table: ResourceTable,
  schema: Schema,
): ExpressionWarning[] {
  const { validations = [], variables, paramKind, matchConditions = [] } = policy.spec;
  const warnings = new Map<string, string[]>();
  for (const kind of namedKinds(policy, table)) {
    if (!schema.knows(kind)) continue;
    count += 1;
    const environment = checkingEnvironment.clone();
    const object = declareTypes(environment, celSchemaOfKind(kind, kind.isCustom, schema), `Object${count % 1000}`);
    const names = declarePolicyNames(variables, paramKind !== undefined, environment, object);
    const check = (fieldRef: string, source: string | undefined, declarations = names.all) => {
      if (source === undefined) return;
      const compiled = compileExpression(source, declarations);
      if (compiled.ok) return;
      const text = compiled.message.replace(/^compilation failed: /, '');
      warnings.set(fieldRef, [...(warnings.get(fieldRef) ?? []), `${named(kind)}: ${text}\n`]);
    };
    for (const [index, { expression }] of matchConditions.entries())
      check(`spec.matchConditions[${index}].expression`, expression, names.conditions);
    for (const [index, { expression, messageExpression }] of validations.entries()) {
      check(`spec.validations[${index}].expression`, expression);
      check(`spec.validations[${index}].messageExpression`, messageExpression);
    }
  }
  return [...warnings].map(([fieldRef, texts]) => ({ fieldRef, warning: texts.join('\n') }));
}
