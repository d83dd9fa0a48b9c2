// Definitions of custom resources: costs of their rules, what was what before a change, names, and conversions.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { webhookConversion } from '../../../control-plane-lite/registry/custom/convert-objects.ts';
import { previousItem } from '../../../control-plane-lite/registry/custom/correlate.ts';
import type { Definition } from '../../../control-plane-lite/registry/custom/custom-definition.ts';
import { defaultCustom } from '../../../control-plane-lite/registry/custom/default-custom.ts';
import { computeDefinitionStatus } from '../../../control-plane-lite/registry/custom/definition-status.ts';
import { fitsFormat, hasFormat } from '../../../control-plane-lite/registry/custom/formats.ts';
import type { JsonSchema } from '../../../control-plane-lite/registry/custom/json-schema.ts';
import { validateCustom } from '../../../control-plane-lite/registry/custom/validate-custom.ts';
import { validateStructural } from '../../../control-plane-lite/registry/custom/validate-structural.ts';
import type { KubeObject } from '../../../kube/api/resource.ts';

const root = (spec: JsonSchema): JsonSchema => ({ type: 'object', properties: { spec } });
const messages = (spec: JsonSchema): string[] =>
  validateStructural(root(spec), 's').map(({ field, message }) => `${field}: ${message}`);

describe('schemas of custom resources', () => {
  const list: JsonSchema = { type: 'array', items: { type: 'string' } };

  it('bound the cost of their rules by the sizes that they allow', () => {
    const rule = (schema: JsonSchema, text: string): JsonSchema => ({
      ...schema,
      'x-kubernetes-validations': [{ rule: text }],
    });
    const nested = 'self.all(a, self.all(b, a == b || self.exists(c, c == a)))';
    assert.match(messages(rule(list, nested)).join(), /estimated rule cost exceeds budget by factor of more than 100x/);
    const bounded: JsonSchema = { type: 'array', maxItems: 10, items: { type: 'string', maxLength: 20 } };
    assert.deepEqual(messages(rule(bounded, nested)), []);
    assert.deepEqual(messages(rule(list, 'self.all(a, a != "")')), []);
    const many: JsonSchema = {
      type: 'array',
      items: { type: 'object', properties: { name: rule({ type: 'string' }, 'self.contains("x")') } },
    };
    assert.match(messages(many).join(), /exceeds budget/);
  });

  const wrong: [JsonSchema, RegExp][] = [
    [{ type: 'object', 'x-kubernetes-preserve-unknown-fields': false }, /must be true or undefined/],
    [{ type: 'array', items: { type: 'string' }, uniqueItems: true }, /uniqueItems cannot be set to true/],
    [{ type: 'object', additionalProperties: false }, /additionalProperties cannot be set to false/],
    [
      { type: 'object', properties: { a: { type: 'string' } }, additionalProperties: { type: 'string' } },
      /mutual exclusive/,
    ],
    [
      { type: 'array', items: { type: 'object' }, 'x-kubernetes-list-type': 'map' },
      /x-kubernetes-list-map-keys: Required value/,
    ],
    [
      {
        type: 'array',
        items: { type: 'object', properties: { k: { type: 'string' } } },
        'x-kubernetes-list-type': 'map',
        'x-kubernetes-list-map-keys': ['k'],
      },
      /must have a default or be a required property/,
    ],
    [{ type: 'string', anyOf: [{ type: 'string' }] }, /anyOf\[0\]\.type: Forbidden: must be empty to be structural/],
    [{ type: 'nope' }, /Unsupported value: "nope"/],
    [{ type: 'object', properties: { a: { type: 'integer', default: 'x' } } }, /default.*must be of type integer/],
  ];
  for (const [schema, wanted] of wrong) {
    it(`are refused: ${JSON.stringify(schema).slice(0, 80)}`, () => assert.match(messages(schema).join('\n'), wanted));
  }

  it('combine others', () => {
    const schema = root({
      type: 'object',
      properties: { a: { type: 'integer' }, b: { type: 'string' } },
      oneOf: [{ required: ['a'] }, { required: ['b'] }],
      not: { required: ['c'] },
    });
    const check = (spec: object) => validateCustom({ spec }, schema).map(({ message }) => message);
    assert.deepEqual(check({ a: 1 }), []);
    assert.match(check({}).join(), /must validate one and only one schema \(oneOf\)\. Found none valid/);
    assert.match(check({ a: 1, b: 'x' }).join(), /Found 2 valid alternatives/);
    assert.match(check({ a: 1, c: 1 }).join(), /must not validate the schema \(not\)/);
  });

  it('know formats', () => {
    const cases: [string, string, boolean][] = [
      ['2026-01-01T00:00:00Z', 'date-time', true],
      ['2026-01-01', 'date-time', false],
      ['10.0.0.1', 'ipv4', true],
      ['::1', 'ipv4', false],
      ['10.0.0.0/8', 'cidr', true],
      ['10.0.0.0/33', 'cidr', false],
      ['1h30m', 'duration', true],
      ['soon', 'duration', false],
      ['anything', 'unheard-of', true],
    ];
    for (const [text, format, wanted] of cases) assert.equal(hasFormat(text, format), wanted, `${text} as ${format}`);
    assert.deepEqual([fitsFormat(2 ** 31, 'int32'), fitsFormat(5, 'int32')], [false, true]);
  });

  it('give defaults to what is missing, and to nulls that may not be', () => {
    const schema = root({
      type: 'object',
      default: {},
      properties: { a: { type: 'string', default: 'A' }, b: { type: 'string', default: 'B', nullable: true } },
    });
    const object = { spec: { a: null, b: null } };
    defaultCustom(object, schema);
    assert.deepEqual(object, { spec: { a: 'A', b: null } });
    const empty = {};
    defaultCustom(empty, schema);
    assert.deepEqual(empty, { spec: { a: 'A', b: 'B' } });
  });

  it('tell items by their keys', () => {
    const schema: JsonSchema = {
      type: 'array',
      'x-kubernetes-list-type': 'map',
      'x-kubernetes-list-map-keys': ['k', 'p'],
      items: { type: 'object', properties: { p: { type: 'string', default: 'TCP' } } },
    };
    const before = [
      { k: 1, p: 'UDP', v: 1 },
      { k: 1, p: 'TCP', v: 2 },
    ];
    assert.deepEqual(previousItem({ k: 1 }, before, schema), before[1]);
    assert.equal(previousItem({ k: 2 }, before, schema), undefined);
    assert.equal(previousItem('x', ['x'], { type: 'array' }), undefined);
  });
});

describe('conversion by webhook', () => {
  const object = { apiVersion: 'g/v1', kind: 'K', metadata: { name: 'a', uid: 'u', labels: { l: '1' } } } as KubeObject;
  const conversion = {
    strategy: 'Webhook',
    webhook: { clientConfig: { url: 'https://x' }, conversionReviewVersions: ['v1'] },
  };
  const convert = async (change: (request: { uid: string }) => object) => {
    const call = async (_client: unknown, body: object) => {
      const { request } = body as { request: { uid: string } };
      return {
        kind: 'ConversionReview',
        apiVersion: 'apiextensions.k8s.io/v1',
        response: { uid: request.uid, result: { status: 'Success' }, ...change(request) },
      };
    };
    return (await webhookConversion(conversion, call)?.([object], 'g/v2')) ?? [];
  };

  it('lets the webhook change labels and annotations of the metadata, and nothing else', async () => {
    const metadata = {
      name: 'a',
      uid: 'u',
      labels: { l: '2' },
      annotations: { a: 'b' },
      finalizers: ['x'],
      generation: 9,
    };
    const [converted] = await convert(() => ({ convertedObjects: [{ apiVersion: 'g/v2', kind: 'K', metadata }] }));
    assert.deepEqual(converted?.metadata, { name: 'a', uid: 'u', labels: { l: '2' }, annotations: { a: 'b' } });
  });

  const wrong: [string, object, RegExp][] = [
    ['too few', { convertedObjects: [] }, /webhook returned 0 objects, expected 1/],
    ['another version', { convertedObjects: [{ ...object }] }, /apiVersion must be g\/v2/],
    [
      'another name',
      { convertedObjects: [{ ...object, apiVersion: 'g/v2', metadata: { name: 'b', uid: 'u' } }] },
      /must have the same name/,
    ],
    ['no metadata', { convertedObjects: [{ apiVersion: 'g/v2', kind: 'K' }] }, /missing metadata/],
    ['a failure', { result: { status: 'Failed', message: 'why not' } }, /failed: why not/],
    ['another uid', { uid: 'other' }, /expected response\.uid=/],
  ];
  for (const [what, response, wanted] of wrong) {
    it(`refuses ${what}`, async () =>
      assert.rejects(
        convert(() => response),
        wanted,
      ));
  }
});

describe('the status of definitions', () => {
  const definition = (name: string, kind: string, more: object = {}): Definition =>
    ({
      metadata: { name: `${name}.g.io`, uid: name },
      spec: {
        group: 'g.io',
        names: { plural: name, kind, singular: kind.toLowerCase(), listKind: `${kind}List` },
        scope: 'Cluster',
        versions: [{ name: 'v1', served: true, storage: true }],
      },
      ...more,
    }) as unknown as Definition;
  const conditions = (each: Definition, all: Definition[]) =>
    (computeDefinitionStatus(each, all, 0).conditions ?? []).map(
      ({ type, status, reason }) => `${type} ${status} ${reason}`,
    );

  it('is served when its names are free', () => {
    const one = definition('ones', 'One');
    assert.deepEqual(conditions(one, [one]), [
      'NamesAccepted True NoConflicts',
      'Established True InitialNamesAccepted',
    ]);
    assert.deepEqual(computeDefinitionStatus(one, [one], 0).storedVersions, ['v1']);
  });

  it('waits where another has its names, and stays served once it was', () => {
    const one = definition('ones', 'One', {
      status: { acceptedNames: { plural: 'ones', kind: 'One', listKind: 'OneList' } },
    });
    const two = definition('twos', 'One');
    assert.deepEqual(conditions(two, [one, two]), [
      'NamesAccepted False ListKindConflict',
      'Established False NotAccepted',
    ]);
    const established = {
      ...two,
      status: { conditions: [{ type: 'Established', status: 'True' }] },
    } as unknown as Definition;
    assert.ok(conditions(established, [one, established]).some((text) => text.startsWith('Established True')));
  });
});
