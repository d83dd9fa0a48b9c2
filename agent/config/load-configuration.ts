// The configuration of the agent: defaults, then the file, then drop-ins by name, then flags.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { loadConfigFile } from '#kube/process/config-file.ts';
import { describeFlags, type FlagValue, parseDurationMs, parseFlags, UsageError } from '#kube/process/flags.ts';
import { configurationShape } from './configuration-shape.ts';
import defaults from './data/defaults.json' with { type: 'json' };
import { fieldOfFlag, kubeletFlags, whyIgnored } from './flag-table.ts';

type Fields = Record<string, unknown>;

/** What the command line amounts to. */
export interface LoadedConfiguration {
  /** KubeletConfiguration with every default filled in, as /configz shows it. */
  configuration: Fields;
  /** Flags as given, by name. */
  flags: Record<string, FlagValue>;
  /** Top-level fields that file, drop-ins or flags set. */
  given: ReadonlySet<string>;
  warnings: string[];
}

/** Texts instead of a configuration: what --help and --version print. */
export interface PrintRequest {
  print: string;
}

const file = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', shape: configurationShape };

function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Zero values in a file stand for the default, as in the Go type. */
function isUnset(value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  return typeof value === 'string' && /^0(ns|us|µs|ms|s|m|h)$/.test(value);
}

function merge(base: Fields, over: Fields): Fields {
  const result = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    // Maps of thresholds and reservations are replaced as a whole, structures field by field.
    const isStructure = isRecord(configurationShape[key]) || ['webhook', 'x509', 'anonymous'].includes(key);
    if (isRecord(before) && isRecord(value) && isStructure) result[key] = merge(before, value);
    else if (!isUnset(value) || before === undefined) result[key] = value;
  }
  return result;
}

function dropIns(directory: string): Fields[] {
  let names: string[];
  try {
    names = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.conf'));
  } catch (error) {
    throw new UsageError(`cannot read --config-dir ${directory}: ${(error as Error).message}`, { cause: error });
  }
  return names.sort().map((name) => loadConfigFile(join(directory, name), file));
}

/** Headers as a flag has them: name:value pairs with commas between, names more than once where they have more values. */
function headerMap(text: string): Record<string, string[]> {
  const headers: Record<string, string[]> = {};
  for (const pair of text.split(',').filter((item) => item !== '')) {
    const colon = pair.indexOf(':');
    if (colon < 1) throw new UsageError(`--manifest-url-header takes name:value pairs, not "${pair}"`);
    const name = pair.slice(0, colon).trim();
    headers[name] = [...(headers[name] ?? []), pair.slice(colon + 1)];
  }
  return headers;
}

/** A flag's value as the configuration file would have it. */
function fieldValue(name: string, value: FlagValue): unknown {
  if (typeof value === 'number' && kubeletFlags.find((flag) => flag.name === name)?.type === 'duration') {
    return `${value}ms`;
  }
  if (name === 'manifest-url-header' && typeof value === 'string') return headerMap(value);
  if (name.startsWith('eviction-') && typeof value === 'string') return value;
  return value;
}

/** Thresholds are written signal<value on the command line. */
function normalizeThresholds(argv: readonly string[]): string[] {
  return argv.map((arg) => (/^--eviction-(hard|soft)=/.test(arg) ? arg.replace(/(?<!=)</g, '=') : arg));
}

function setField(configuration: Fields, path: string, value: unknown): void {
  const [head = '', ...rest] = path.split('.');
  if (rest.length === 0) {
    configuration[head] = value;
    return;
  }
  const inner = isRecord(configuration[head]) ? { ...configuration[head] } : {};
  setField(inner, rest.join('.'), value);
  configuration[head] = inner;
}

/** Decodes the command line. Throws UsageError. */
export function loadConfiguration(argv: readonly string[], version: string): LoadedConfiguration | PrintRequest {
  const { values, warnings } = parseFlags('agent', kubeletFlags, normalizeThresholds(argv));
  if (values['help'] === true) return { print: describeFlags('agent', kubeletFlags) };
  if (values['version'] === true) return { print: `Kubernetes ${version}\n` };
  let configuration: Fields = structuredClone(defaults);
  const given = new Set<string>();
  const layers = typeof values['config'] === 'string' ? [loadConfigFile(values['config'], file)] : [];
  if (typeof values['config-dir'] === 'string') layers.push(...dropIns(values['config-dir']));
  for (const fields of layers) {
    configuration = merge(configuration, fields);
    for (const name of Object.keys(fields)) given.add(name);
  }
  for (const [name, value] of Object.entries(values)) {
    const field = fieldOfFlag[name];
    if (field !== undefined) {
      setField(configuration, field, fieldValue(name, value));
      given.add(field.split('.')[0] ?? field);
    }
    const ignored = whyIgnored(name);
    if (ignored !== undefined) warnings.push(ignored);
  }
  return { configuration, flags: values, given, warnings };
}

/** A duration of the configuration in milliseconds. */
export function durationMs(value: unknown): number {
  return typeof value === 'string' ? parseDurationMs(value) : 0;
}
