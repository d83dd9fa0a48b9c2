// What a schema of a custom resource has to be: structural, with rules that compile and defaults that fit.
// Source of the rules: the reference's apiextensions-apiserver/pkg/apiserver/schema and pkg/apis/apiextensions/validation.
import {
  type FieldError,
  forbiddenField,
  invalidField,
  requiredField,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { linearRegExp } from '../../cel/linear-regexp.ts';
import { compiledRules } from './compiled-rules.ts';
import { defaultCustom } from './default-custom.ts';
import { estimateRules } from './estimate-rules.ts';
import { additionalOf, type JsonSchema, type ValidationRule } from './json-schema.ts';
import { validateValue } from './validate-custom.ts';

const types = ['array', 'boolean', 'integer', 'number', 'object', 'string'];
const reasons = ['FieldValueInvalid', 'FieldValueForbidden', 'FieldValueRequired', 'FieldValueDuplicate'];
const junctors = ['allOf', 'anyOf', 'oneOf'] as const;
/** What only the schema itself may say, not the schemas that it is put together of. */
const structural = [
  'type',
  'default',
  'title',
  'description',
  'nullable',
  'additionalProperties',
  'x-kubernetes-preserve-unknown-fields',
  'x-kubernetes-int-or-string',
  'x-kubernetes-embedded-resource',
  'x-kubernetes-list-type',
  'x-kubernetes-map-type',
  'x-kubernetes-validations',
] as const;

interface Place {
  path: string;
  isRoot: boolean;
  /** How the place is called where its type is missing. */
  what: 'root' | 'field' | 'items';
}

const missingType = {
  root: 'must not be empty at the root',
  field: 'must not be empty for specified object fields',
  items: 'must not be empty for specified array items',
};

function checkRule(rule: ValidationRule, path: string): FieldError[] {
  const errors: FieldError[] = [];
  if ((rule.rule ?? '').trim() === '') errors.push(requiredField(`${path}.rule`, 'rule is not specified'));
  const { message, reason, fieldPath, messageExpression } = rule;
  if (message !== undefined && message.trim() === '' && message !== '') {
    errors.push(invalidField(`${path}.message`, message, 'message must be non-empty if specified'));
  }
  if (message?.trim().includes('\n') === true) {
    errors.push(invalidField(`${path}.message`, message, 'message must not contain line breaks'));
  }
  if (message === undefined && rule.rule.trim().includes('\n') && messageExpression === undefined) {
    errors.push(requiredField(`${path}.message`, 'message must be specified if rule contains line breaks'));
  }
  if (messageExpression !== undefined && messageExpression.trim() === '') {
    errors.push(requiredField(`${path}.messageExpression`, 'messageExpression must be non-empty if specified'));
  }
  if (reason !== undefined && !reasons.includes(reason))
    errors.push(unsupportedField(`${path}.reason`, reason, reasons));
  if (fieldPath !== undefined && !/^(\.[^.[\]]+|\['[^']+'\])+$/.test(fieldPath)) {
    errors.push(invalidField(`${path}.fieldPath`, fieldPath, 'fieldPath must be a valid path'));
  }
  return errors;
}

/** Whether a relative path names fields that the schema has. */
function hasField(schema: JsonSchema, fieldPath: string): boolean {
  const parts = [...fieldPath.matchAll(/\.([^.[\]]+)|\['([^']+)'\]/g)].map(
    ([, dotted, quoted]) => dotted ?? quoted ?? '',
  );
  let current: JsonSchema | undefined = schema;
  for (const part of parts)
    current = current?.properties?.[part] ?? (current === undefined ? undefined : additionalOf(current));
  return current !== undefined;
}

function checkRules(schema: JsonSchema, { path, isRoot }: Place): FieldError[] {
  const at = `${path}.x-kubernetes-validations`;
  const errors: FieldError[] = [];
  const rules = schema['x-kubernetes-validations'] ?? [];
  for (const [index, rule] of rules.entries()) errors.push(...checkRule(rule, `${at}[${index}]`));
  if (errors.length > 0) return errors;
  for (const [index, { rule, compiled, message }] of compiledRules(schema, isRoot).entries()) {
    if (!compiled.ok) errors.push(invalidField(`${at}[${index}].rule`, rule, compiled.message));
    if (message !== undefined && !message.ok) {
      errors.push(invalidField(`${at}[${index}].messageExpression`, rule, `messageExpression ${message.message}`));
    }
    if (rule.fieldPath !== undefined && !hasField(schema, rule.fieldPath)) {
      const why = `fieldPath ${rule.fieldPath} does not refer to a valid field`;
      errors.push(invalidField(`${at}[${index}].fieldPath`, rule.fieldPath, why));
    }
  }
  return errors;
}

function checkList(schema: JsonSchema, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const listType = schema['x-kubernetes-list-type'];
  const keys = schema['x-kubernetes-list-map-keys'];
  if (schema.items === undefined) errors.push(requiredField(`${path}.items`, 'must be specified'));
  if (listType !== undefined && !['atomic', 'set', 'map'].includes(listType)) {
    errors.push(unsupportedField(`${path}.x-kubernetes-list-type`, listType, ['atomic', 'map', 'set']));
  }
  if (listType !== 'map') {
    if (keys !== undefined) {
      errors.push(
        forbiddenField(
          `${path}.x-kubernetes-list-map-keys`,
          'must not be specified if x-kubernetes-list-type is not map',
        ),
      );
    }
    return errors;
  }
  if ((keys ?? []).length === 0) {
    const why = 'must not be empty if x-kubernetes-list-type is map';
    return [...errors, requiredField(`${path}.x-kubernetes-list-map-keys`, why)];
  }
  if (schema.items?.type !== 'object') {
    errors.push(
      invalidField(
        `${path}.items.type`,
        schema.items?.type ?? '',
        "must be object if parent array's x-kubernetes-list-type is map",
      ),
    );
  }
  for (const [index, key] of (keys ?? []).entries()) {
    const property = schema.items?.properties?.[key];
    const where = `${path}.x-kubernetes-list-map-keys[${index}]`;
    if (property === undefined) errors.push(invalidField(where, key, 'entries must all be names of item properties'));
    else if (property.default === undefined && !(schema.items?.required ?? []).includes(key)) {
      errors.push(
        requiredField(
          `${path}.items.properties[${key}].default`,
          'this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property',
        ),
      );
    }
  }
  return errors;
}

function checkDefault(schema: JsonSchema, path: string): FieldError[] {
  if (schema.default === undefined) return [];
  const completed = structuredClone(schema.default);
  defaultCustom(completed, schema);
  return validateValue(completed, schema, `${path}.default`);
}

function checkPlain(schema: JsonSchema, place: Place): FieldError[] {
  const { path } = place;
  const errors: FieldError[] = [];
  const isOpen =
    schema['x-kubernetes-int-or-string'] === true || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if ((schema.type ?? '') === '' && (!isOpen || place.isRoot)) {
    errors.push(requiredField(`${path}.type`, missingType[place.what]));
  }
  if (place.isRoot && schema.type !== undefined && schema.type !== 'object') {
    errors.push(invalidField(`${path}.type`, schema.type, 'must be object at the root'));
  }
  if ((schema.type ?? '') !== '' && !types.includes(schema.type ?? '')) {
    errors.push(unsupportedField(`${path}.type`, schema.type, types));
  }
  if (schema['x-kubernetes-preserve-unknown-fields'] === false) {
    errors.push(invalidField(`${path}.x-kubernetes-preserve-unknown-fields`, false, 'must be true or undefined'));
  }
  if (schema.uniqueItems === true) {
    errors.push(
      forbiddenField(
        `${path}.uniqueItems`,
        'uniqueItems cannot be set to true since the runtime complexity becomes quadratic',
      ),
    );
  }
  if (schema.additionalProperties === false) {
    errors.push(forbiddenField(`${path}.additionalProperties`, 'additionalProperties cannot be set to false'));
  }
  if (schema.additionalProperties !== undefined && Object.keys(schema.properties ?? {}).length > 0) {
    errors.push(
      forbiddenField(`${path}.additionalProperties`, 'additionalProperties and properties are mutual exclusive'),
    );
  }
  if (schema.pattern !== undefined) {
    try {
      linearRegExp(schema.pattern);
    } catch (error) {
      errors.push(
        invalidField(
          `${path}.pattern`,
          schema.pattern,
          `must be a valid regular expression, but isn't: ${error instanceof Error ? error.message : String(error)}`,
        ),
      );
    }
  }
  if (schema['x-kubernetes-embedded-resource'] === true && schema.type !== 'object') {
    errors.push(
      invalidField(`${path}.type`, schema.type ?? '', 'must be object if x-kubernetes-embedded-resource is true'),
    );
  }
  if ('$ref' in schema) errors.push(forbiddenField(`${path}.$ref`, '$ref is not supported'));
  return errors;
}

/** Value validations inside of allOf, anyOf, oneOf and not say nothing of the structure, and nothing of new fields. */
function checkJunctor(part: JsonSchema, base: JsonSchema, path: string): FieldError[] {
  const isIntOrString = base['x-kubernetes-int-or-string'] === true;
  const errors = structural
    .filter((name) => part[name] !== undefined && !(name === 'type' && isIntOrString))
    .map((name) => forbiddenField(`${path}.${name}`, 'must be empty to be structural'));
  for (const [name, property] of Object.entries(part.properties ?? {})) {
    const own = base.properties?.[name] ?? additionalOf(base);
    if (own === undefined && base['x-kubernetes-preserve-unknown-fields'] !== true) {
      errors.push(
        requiredField(
          `${path.replace(/\.(allOf|anyOf|oneOf)\[\d+\].*$|\.not.*$/, '')}.properties[${name}]`,
          `because it is defined in ${path.slice(path.lastIndexOf('openAPIV3Schema') + 'openAPIV3Schema.'.length)}.properties[${name}]`,
        ),
      );
    }
    errors.push(...checkJunctor(property, own ?? {}, `${path}.properties[${name}]`));
  }
  if (part.items !== undefined) errors.push(...checkJunctor(part.items, base.items ?? {}, `${path}.items`));
  return errors;
}

function check(schema: JsonSchema, place: Place): FieldError[] {
  const { path } = place;
  const errors = checkPlain(schema, place);
  for (const junctor of junctors) {
    for (const [index, part] of (schema[junctor] ?? []).entries()) {
      errors.push(...checkJunctor(part, schema, `${path}.${junctor}[${index}]`));
    }
  }
  if (schema.not !== undefined) errors.push(...checkJunctor(schema.not, schema, `${path}.not`));
  if (schema.type === 'array') errors.push(...checkList(schema, path));
  const within = (part: JsonSchema, at: string, what: Place['what']) => check(part, { path: at, isRoot: false, what });
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const at = `${path}.properties[${name}]`;
    if (place.isRoot && name === 'metadata') {
      const others = Object.keys(property.properties ?? {}).filter(
        (each) => each !== 'name' && each !== 'generateName',
      );
      if (others.length > 0 || property.additionalProperties !== undefined) {
        errors.push(
          forbiddenField(
            at,
            'must not specify anything other than name and generateName, but metadata is implicitly specified',
          ),
        );
      }
    }
    errors.push(...within(property, at, 'field'));
  }
  const additional = additionalOf(schema);
  if (additional !== undefined) errors.push(...within(additional, `${path}.additionalProperties`, 'field'));
  if (schema.items !== undefined) errors.push(...within(schema.items, `${path}.items`, 'items'));
  errors.push(...checkDefault(schema, path), ...checkRules(schema, place));
  return errors;
}

/** What is wrong with the schema of a version; `path` is that of the schema. */
export function validateStructural(schema: JsonSchema, path: string): FieldError[] {
  const errors = check(schema, { path, isRoot: true, what: 'root' });
  return errors.length > 0 ? errors : estimateRules(schema, path);
}
