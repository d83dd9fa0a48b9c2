// Component configuration files (KubeletConfiguration, KubeProxyConfiguration): YAML decoded against a shape.
import { readFileSync } from 'node:fs';
import { parseDurationMs, UsageError } from './flags.ts';
import { parseYaml } from './parse-yaml.ts';

/** What a configuration field may hold. A record is a nested object, a list of one what each item is; `any` is passed through. */
export type ConfigShape =
  | 'string'
  | 'number'
  | 'boolean'
  | 'duration'
  | 'stringList'
  | 'stringMap'
  | 'booleanMap'
  | 'any'
  | [ConfigShape]
  | { [field: string]: ConfigShape };

function mismatch(path: string, wanted: string, value: unknown): UsageError {
  return new UsageError(`${path} takes ${wanted}, not ${JSON.stringify(value)}`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Throws UsageError for the first field that is not as the shape says. `path` is where the value stands. */
export function checkShape(path: string, shape: ConfigShape, value: unknown): void {
  if (value === null || shape === 'any') return;
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) throw mismatch(path, 'a list', value);
    for (const [index, item] of value.entries()) checkShape(`${path}[${index}]`, shape[0], item);
    return;
  }
  if (typeof shape === 'object') {
    if (!isRecord(value)) throw mismatch(path, 'an object', value);
    for (const [key, item] of Object.entries(value)) {
      const field = shape[key];
      const at = path === '' ? key : `${path}.${key}`;
      if (field === undefined) {
        throw new UsageError(`unknown field ${at}; allowed here: ${Object.keys(shape).join(', ')}`);
      }
      checkShape(at, field, item);
    }
    return;
  }
  switch (shape) {
    case 'string':
    case 'number':
    case 'boolean':
      if (typeof value !== shape) throw mismatch(path, `a ${shape}`, value);
      return;
    case 'duration':
      if (typeof value !== 'string') throw mismatch(path, 'a duration such as 10s', value);
      parseDurationMs(value);
      return;
    case 'stringList':
      if (!Array.isArray(value) || value.some((item) => typeof item !== 'string')) {
        throw mismatch(path, 'a list of strings', value);
      }
      return;
    case 'stringMap':
      if (!isRecord(value) || Object.values(value).some((item) => typeof item !== 'string')) {
        throw mismatch(path, 'a map of strings', value);
      }
      return;
    case 'booleanMap':
      if (!isRecord(value) || Object.values(value).some((item) => typeof item !== 'boolean')) {
        throw mismatch(path, 'a map of booleans', value);
      }
      return;
    default:
      shape satisfies never;
  }
}

/**
 * Reads a configuration file of one kind. Nulls and absent fields are equal (dropped at the top level).
 * Throws UsageError naming the file, the field and what is allowed.
 */
export function loadConfigFile(
  path: string,
  expected: { apiVersion: string; kind: string; shape: { [field: string]: ConfigShape } },
): Record<string, unknown> {
  let decoded: unknown;
  try {
    decoded = parseYaml(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new UsageError(`cannot read configuration ${path}: ${(error as Error).message}`, { cause: error });
  }
  if (!isRecord(decoded)) throw new UsageError(`${path} is not a ${expected.kind} object`);
  const { apiVersion, kind, ...fields } = decoded;
  if (apiVersion !== expected.apiVersion || kind !== expected.kind) {
    throw new UsageError(`${path} must be ${expected.kind} of ${expected.apiVersion}, not ${kind} of ${apiVersion}`);
  }
  try {
    checkShape('', expected.shape, fields);
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}`, { cause: error });
  }
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null));
}
