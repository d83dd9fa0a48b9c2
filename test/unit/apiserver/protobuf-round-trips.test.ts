// Every kind that has a protobuf form, with every field set, there and back; and hostile bytes.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { createProtobufCodec } from '../../../control-plane-lite/apiserver/protobuf/protobuf-codec.ts';
import { loadSchema, type Type } from '../../../control-plane-lite/registry/schema.ts';
import { StatusError } from '../../../kube/errors/status-error.ts';

const schema = loadSchema();
const codec = createProtobufCodec(schema);
const data = new URL('../../../control-plane-lite/apiserver/protobuf/data/kubernetes-api.json', import.meta.url);
const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(data, 'utf8')));

const maxDepth = 9;

function scalarOf(type: string, format: string, name: string): unknown {
  if (type === 'boolean') return true;
  if (type === 'integer') return 7;
  if (type === 'number') return 1.5;
  if (format === 'date-time') return name.includes('Micro') ? '2026-01-02T03:04:05.000006Z' : '2026-01-02T03:04:05Z';
  if (format === 'quantity') return '250m';
  if (format === 'int-or-string') return '25%';
  if (format === 'byte') return 'AAEC';
  return `${name}-value`;
}

const microTimes = new Set(['acquireTime', 'renewTime', 'eventTime', 'lastObservedTime', 'pingTime']);

/** Kinds without metadata that others hold. */
const named = /\.(DeleteOptions|APIGroup)$/;

/** A value of a type in which every field is set. Types that recur end where `depth` does. */
function fill(type: Type, name: string, depth: number): unknown {
  switch (type.kind) {
    case 'scalar':
      return scalarOf(type.type, type.format, microTimes.has(name) ? `${name}Micro` : name);
    case 'list':
      return [fill(type.items, name, depth), fill(type.items, name, depth)];
    case 'map':
      return { one: fill(type.values, name, depth), two: fill(type.values, name, depth) };
    case 'any':
      return fillAny(name);
    case 'object': {
      // Objects within lists do not name their kind on the wire.
      const isEmbedded = depth > 0 && (type.fields.get('metadata')?.type.kind === 'object' || named.test(type.name));
      const known = [...type.fields]
        .filter(([field]) => !(isEmbedded && (field === 'kind' || field === 'apiVersion')))
        .filter(([, field]) => depth < maxDepth || field.type.kind !== 'object');
      const recurs = type.name.endsWith('.JSONSchemaProps') && depth > 5;
      const shown = recurs ? known.filter(([, field]) => field.type.kind === 'scalar') : known;
      return Object.fromEntries(shown.map(([field, { type: inner }]) => [field, fill(inner, field, depth + 1)]));
    }
    default:
      return type satisfies never;
  }
}

function fillAny(name: string): unknown {
  if (name === 'fieldsV1') return { 'f:spec': { '.': {} } };
  if (name === 'spec' || name === 'status' || name === 'basic') return {};
  if (name === 'items') return { type: 'string' };
  if (name === 'additionalProperties' || name === 'additionalItems') return false;
  if (name === 'dependencies') return ['a', 'b'];
  return { any: [name, 1, null] };
}

const versionsOf = (group: string, version: string) => (group === '' ? version : `${group}/${version}`);

const kinds = Object.entries(schema.definitions)
  .flatMap(([name, raw]) => (raw['x-kubernetes-group-version-kind'] ?? []).map((gvk) => ({ name, ...gvk })))
  .map(({ name, group, version, kind }) => ({ name, apiVersion: versionsOf(group, version), kind }))
  .filter(({ apiVersion, kind }) => kind !== 'WatchEvent' && codec.knows(apiVersion, kind));

const magicLength = 4;

interface Unknown {
  typeMeta: { apiVersion: string; kind: string };
  raw: Buffer;
}

function openByReflection(body: Buffer): Unknown {
  const type = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  return type.toObject(type.decode(body.subarray(magicLength)), { bytes: Buffer }) as Unknown;
}

/** io.k8s.api.core.v1.Pod is k8s.io.api.core.v1.Pod. */
function messageOf(definition: string): protobuf.Type {
  const name = definition.replace(/^io\.k8s\./, 'k8s.io.').replaceAll('-', '_');
  return root.lookupType(name);
}

describe('the protobuf form of every kind', () => {
  it('is there for all kinds of the API', () => {
    assert.ok(kinds.length > 240, `${kinds.length} kinds`);
    for (const kind of ['Pod', 'Node', 'PodList', 'Secret']) assert.ok(codec.knows('v1', kind), kind);
    assert.ok(codec.knows('apiextensions.k8s.io/v1', 'CustomResourceDefinition'));
    assert.ok(codec.knows('apiregistration.k8s.io/v1', 'APIService'));
    assert.ok(codec.knows('rbac.authorization.k8s.io/v1', 'ClusterRole'));
    assert.ok(!codec.knows('example.com/v1', 'Pod'));
    assert.ok(!codec.knows('v1', 'constructor'));
  });

  for (const { name, apiVersion, kind } of kinds) {
    it(`holds ${apiVersion} ${kind} with all of its fields`, () => {
      const filled = fill(schema.named(name), kind, 0) as Record<string, unknown>;
      const object = { ...filled, apiVersion, kind };
      const body = codec.encode(object);
      assert.deepEqual(codec.decode(body), object);
      // The library's own reflection reads the same bytes, and writes them again.
      const { raw, typeMeta } = openByReflection(body);
      assert.deepEqual({ ...typeMeta }, { apiVersion, kind });
      const message = messageOf(name);
      assert.ok(Buffer.from(message.encode(message.decode(raw)).finish()).equals(raw));
    });
  }
});

describe('hostile bytes', () => {
  /** A small generator of its own, so that a failure can be seen again. */
  function random(seed: number): () => number {
    let state = seed;
    return () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      return state / 2 ** 32;
    };
  }

  function assertRefusedOrRead(body: Buffer): void {
    try {
      codec.decode(body);
    } catch (error) {
      assert.ok(error instanceof StatusError, String(error));
      assert.ok(error.httpCode === 400 || error.httpCode === 415, String(error.httpCode));
    }
  }

  it('are answered with a Status, wherever they differ from a body', () => {
    const pick = random(20_261_120);
    const pod = {
      ...(fill(schema.named('io.k8s.api.core.v1.Pod'), 'Pod', 4) as object),
      apiVersion: 'v1',
      kind: 'Pod',
    };
    const good = codec.encode(pod);
    for (let round = 0; round < 4000; round += 1) {
      const body = Buffer.from(good);
      for (let flips = 0; flips <= round % 4; flips += 1) {
        body[magicLength + Math.floor(pick() * (body.length - magicLength))] = Math.floor(pick() * 256);
      }
      assertRefusedOrRead(round % 7 === 0 ? body.subarray(0, Math.floor(pick() * body.length)) : body);
    }
  });

  it('cannot nest without end', () => {
    let schemaProps = Buffer.alloc(0);
    for (let depth = 0; depth < 3000; depth += 1) {
      // `not`, field 28: a schema in a schema.
      const length = Buffer.from(protobuf.Writer.create().uint32(schemaProps.length).finish());
      schemaProps = Buffer.concat([Buffer.from([0xe2, 0x01]), length, schemaProps]);
    }
    const wrap = (id: number, inner: Buffer) =>
      Buffer.from(
        protobuf.Writer.create()
          .uint32((id << 3) | 2)
          .bytes(inner)
          .finish(),
      );
    // spec(2).versions(7).schema(4).openAPIV3Schema(1)
    const raw = wrap(2, wrap(7, wrap(4, wrap(1, schemaProps))));
    const envelope = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
    const typeMeta = { apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition' };
    const body = Buffer.concat([
      Buffer.from('k8s\0'),
      envelope.encode(envelope.fromObject({ typeMeta, raw })).finish(),
    ]);
    assert.throws(() => codec.decode(body), /nested too deeply/);
  });

  it('cannot name what every object inherits', () => {
    const body = codec.encode({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      data: Object.fromEntries([['__proto__', 'x']]),
    });
    const { data: read } = codec.decode(body) as { data: Record<string, string> };
    assert.deepEqual(Object.entries(read), [['__proto__', 'x']]);
    assert.equal(Object.getPrototypeOf(read), Object.prototype);
  });

  it('cannot claim lengths that are not there', () => {
    const claim = Buffer.concat([Buffer.from('k8s\0'), Buffer.from([0x12, 0xff, 0xff, 0xff, 0xff, 0x0f])]);
    assert.throws(
      () => codec.decode(claim),
      (error) => error instanceof StatusError && error.httpCode === 400,
    );
  });
});
