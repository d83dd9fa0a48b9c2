// Schemas, defaults and columns of custom resource definitions.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { defaultCustom } from '../../../control-plane-lite/registry/custom/default-custom.ts';
import type { JsonSchema } from '../../../control-plane-lite/registry/custom/json-schema.ts';
import { customPrinter, parseJsonPath } from '../../../control-plane-lite/registry/custom/printer-columns.ts';
import { validateCustom } from '../../../control-plane-lite/registry/custom/validate-custom.ts';

const spec = (properties: Record<string, JsonSchema>): JsonSchema => ({
  type: 'object',
  properties: { spec: { type: 'object', properties } },
});

describe('validation of custom objects', () => {
  const cases: [string, JsonSchema, unknown, string | undefined][] = [
    [
      'a text of the wrong length',
      { type: 'string', minLength: 2 },
      'a',
      'spec.x in body should be at least 2 chars long',
    ],
    ['a text that does not match', { type: 'string', pattern: '^a+$' }, 'b', "spec.x in body should match '^a+$'"],
    ['a number out of bounds', { type: 'integer', maximum: 5 }, 6, 'spec.x in body should be less than or equal to 5'],
    [
      'a bound that is excluded',
      { type: 'number', minimum: 0, exclusiveMinimum: true },
      0,
      'spec.x in body should be greater than 0',
    ],
    ['a list that is too short', { type: 'array', minItems: 1 }, [], 'spec.x in body should have at least 1 items'],
    ['a list that is too long', { type: 'array', maxItems: 1 }, [1, 2], 'Too many: 2: must have at most 1 item'],
    ['a wrong type', { type: 'boolean' }, 'yes', 'spec.x in body must be of type boolean: "string"'],
    ['a whole number as a number', { type: 'number' }, 1, undefined],
    ['a null that is allowed', { type: 'string', nullable: true }, null, undefined],
    ['a number or text', { 'x-kubernetes-int-or-string': true }, '80%', undefined],
    [
      'an item of a list',
      { type: 'array', items: { type: 'integer' } },
      [1, 'x'],
      'spec.x[1] in body must be of type integer: "string"',
    ],
  ];
  for (const [name, schema, value, wanted] of cases) {
    it(`${wanted === undefined ? 'takes' : 'refuses'} ${name}`, () => {
      const [error] = validateCustom({ metadata: {}, spec: { x: value } }, spec({ x: schema }));
      if (wanted === undefined) assert.equal(error, undefined);
      else assert.ok(error?.message.includes(wanted), error?.message);
    });
  }
});

describe('defaults of custom objects', () => {
  it('are filled in at every depth, and each object gets its own', () => {
    const schema = spec({
      a: { type: 'integer', default: 1 },
      b: { type: 'object', default: {}, properties: { c: { type: 'string', default: 'x' } } },
      list: { type: 'array', items: { type: 'object', properties: { d: { type: 'boolean', default: true } } } },
    });
    const object = { spec: { list: [{}] } };
    defaultCustom(object, schema);
    assert.deepEqual(object.spec, { a: 1, b: { c: 'x' }, list: [{ d: true }] });
    assert.deepEqual(schema.properties?.['spec']?.properties?.['b']?.default, {});
  });
});

describe('columns of custom objects', () => {
  it('read paths with fields, indices, quoted keys and filters', () => {
    assert.deepEqual(parseJsonPath('.spec.list[0].name'), [
      { key: 'spec' },
      { key: 'list' },
      { key: '0' },
      { key: 'name' },
    ]);
    assert.deepEqual(parseJsonPath(`.metadata.labels['a.b/c']`).at(-1), { key: 'a.b/c' });
    const printer = customPrinter({
      name: 'v1',
      served: true,
      storage: true,
      additionalPrinterColumns: [
        { name: 'Ready', type: 'string', jsonPath: '.status.conditions[?(@.type=="Ready")].status' },
        { name: 'Since', type: 'date', jsonPath: '.metadata.creationTimestamp' },
        { name: 'None', type: 'integer', jsonPath: '.spec.none' },
      ],
    });
    const object = {
      metadata: { name: 'x', creationTimestamp: '2026-01-01T00:00:00Z' },
      status: {
        conditions: [
          { type: 'Other', status: 'a' },
          { type: 'Ready', status: 'b' },
        ],
      },
    };
    assert.deepEqual(printer.cells(object, Date.parse('2026-01-01T00:01:00Z')), ['x', 'b', '60s', null]);
  });
});
