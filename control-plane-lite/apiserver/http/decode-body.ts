// From a request's body to a checked object: media type, syntax, kind, types, unknown fields.
import type { KubeObject } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { decodeObject, TypeMismatchError } from '../../registry/decode-object.ts';
import type { Schema } from '../../registry/schema.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { ProtobufCodec } from '../protobuf/protobuf-codec.ts';
import { locateFields } from './duplicate-fields.ts';
import { describeJsonError } from './go-json-error.ts';
import { invalidOption } from './invalid-option.ts';
import { protobufMediaType } from './negotiate.ts';
import type { RequestInfo } from './request-info.ts';

/** The kind that a body is decoded as. */
export interface ExpectedKind {
  group: string;
  version: string;
  kind: string;
}

export type FieldValidation = 'Strict' | 'Warn' | 'Ignore';

const acceptedTypes = ['application/json', 'application/yaml', protobufMediaType];
const summaryLimit = 30;

/** Reads the fieldValidation parameter. Throws StatusError for another value. */
export function parseFieldValidation({ query, verb }: Pick<RequestInfo, 'query' | 'verb'>): FieldValidation {
  const value = query.get('fieldValidation') ?? '';
  if (value === '' || value === 'Warn') return 'Warn';
  if (value === 'Strict' || value === 'Ignore') return value;
  const message = `Unsupported value: ${JSON.stringify(value)}: supported values: "", "Ignore", "Strict", "Warn"`;
  throw invalidOption(verb, 'fieldValidation', 'FieldValueNotSupported', message);
}

function unsupportedMediaType(): StatusError {
  const message = `the body of the request was in an unknown format - accepted media types include: ${acceptedTypes.join(', ')}`;
  return failure(415, 'UnsupportedMediaType', message, {});
}

function summarise(body: Buffer): string {
  if (body.length === 0) return '<empty>';
  const start = body.subarray(0, summaryLimit).toString(body[0] === 0x7b ? 'utf8' : 'hex');
  return body.length > summaryLimit ? `${start} ...` : start;
}

/** Parses a body as JSON, YAML or protobuf. Throws StatusError 415 or 400. */
export function parseBody(
  body: Buffer,
  contentType: string | undefined,
  kind: string,
  protobuf: ProtobufCodec,
): unknown {
  const type = (contentType ?? '').split(';')[0]?.trim() ?? '';
  if (type === protobufMediaType) return protobuf.decode(body);
  const text = body.toString();
  try {
    if (type === '' || type === 'application/json') return JSON.parse(text);
    if (type === 'application/yaml' || type === 'application/x-yaml') return parseYaml(text, { uniqueKeys: false });
  } catch (error) {
    const why = type.endsWith('yaml') ? `yaml: ${String(error)}` : describeJsonError(text);
    throw badRequest(
      `the object provided is unrecognized (must be of type ${kind}): couldn't get version/kind; json parse error: ${why} (${summarise(body)})`,
    );
  }
  throw unsupportedMediaType();
}

/** Why an object of another kind cannot be taken: in the reference, no conversion leads from one type to the other. */
function describeMismatch(
  given: { kind: unknown; apiVersion: unknown },
  expected: ExpectedKind,
  schema: Schema,
): string {
  const [group, version] = String(given.apiVersion).includes('/')
    ? String(given.apiVersion).split('/')
    : ['', String(given.apiVersion)];
  const kind = String(given.kind);
  if (!schema.knows({ group: group ?? '', version: version ?? '', kind })) {
    const scheme = 'pkg/api/legacyscheme/scheme.go:30';
    return `no kind ${JSON.stringify(kind)} is registered for version ${JSON.stringify(given.apiVersion)} in scheme ${JSON.stringify(scheme)}`;
  }
  const target = expected.group === '' ? 'core' : expected.group.split('.')[0];
  return `converting (${version}.${kind}) to (${target}.${expected.kind}): unknown conversion`;
}

/** The text of a JSON body, for checks that look at it again. */
export function jsonTextOf(body: Buffer, contentType: string | undefined): string {
  const type = (contentType ?? '').split(';')[0]?.trim() ?? '';
  return type === '' || type === 'application/json' ? body.toString() : '';
}

const describeUnknown = (path: string): string => `unknown field ${JSON.stringify(path)}`;

/** Unknown and duplicate fields in the order of the text, as far as it is JSON. */
function describeProblems(unknown: readonly string[], text: string): string[] {
  const { first, duplicates } = locateFields(text);
  const problems = [
    ...unknown.map((path) => ({ at: first.get(path) ?? 0, said: describeUnknown(path) })),
    ...[...duplicates].map(([path, at]) => ({ at, said: `duplicate field ${JSON.stringify(path)}` })),
  ];
  return problems.sort((a, b) => a.at - b.at).map(({ said }) => said);
}

/**
 * Checks that a parsed value is an object of the kind, and cleans it in place. Throws StatusError. `text` is the JSON
 * it came from, where fields given twice are to be found.
 */
export function decodeAs(
  value: unknown,
  expected: ExpectedKind,
  schema: Schema,
  validation: FieldValidation,
  warn: (text: string) => void,
  { isPartial = false, text = '' }: { isPartial?: boolean; text?: string } = {},
): KubeObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    const message = `json: cannot unmarshal ${Array.isArray(value) ? 'array' : typeof value} into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }`;
    throw badRequest(`couldn't get version/kind; json parse error: ${message}`);
  }
  // A field given twice makes the text longer than what was parsed; so do blanks and escapes.
  const mayRepeat = validation === 'Warn' && text !== '' && JSON.stringify(value).length !== text.trimEnd().length;
  const object = value as Record<string, unknown>;
  const apiVersion = expected.group === '' ? expected.version : `${expected.group}/${expected.version}`;
  const given = { kind: object['kind'] || expected.kind, apiVersion: object['apiVersion'] || apiVersion };
  const claim = `${String(given.kind)} in version ${JSON.stringify(String(given.apiVersion).split('/').at(-1))} cannot be handled as a ${expected.kind}`;
  if (given.kind !== expected.kind) throw badRequest(`${claim}: ${describeMismatch(given, expected, schema)}`);
  if (given.apiVersion !== apiVersion) {
    throw badRequest(
      `the API version in the data (${String(given.apiVersion)}) does not match the expected API version (${apiVersion})`,
    );
  }
  object['kind'] = expected.kind;
  object['apiVersion'] = apiVersion;
  object['metadata'] ??= {};
  try {
    const unknown = decodeObject(object, schema.typeOf(expected), isPartial);
    if (validation === 'Strict') {
      const problems = describeProblems(unknown, text);
      if (problems.length > 0) throw badRequest(`${claim}: strict decoding error: ${problems.join(', ')}`);
    }
    if (validation === 'Warn') {
      const problems = mayRepeat ? describeProblems(unknown, text) : unknown.map(describeUnknown);
      for (const problem of problems) warn(problem);
    }
  } catch (error) {
    if (error instanceof TypeMismatchError) throw badRequest(`${claim}: ${error.message}`);
    throw error;
  }
  return object as unknown as KubeObject;
}
