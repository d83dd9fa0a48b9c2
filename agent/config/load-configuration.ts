// The configuration of the agent: defaults, then the file, then drop-ins by name, then flags.
import { loadConfigFile } from '#kube/process/config-file.ts';
import { describeFlags, type FlagValue, parseDurationMs, parseFlags, UsageError } from '#kube/process/flags.ts';
import { configurationShape } from './configuration-shape.ts';
import defaults from './data/defaults.json' with { type: 'json' };
import { warnOfFeatures, warnOfFields } from './field-support.ts';
import { fieldOfFlag, kubeletFlags, warnOfDeprecated, whyIgnored } from './flag-table.ts';
import { applyDefaults, type Fields, isRecord, listDropIns, mergePatch } from './merge-layers.ts';
import { parseGates, parseReservedMemory, parseTaint } from './parse-flag-values.ts';

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
  if (name === 'register-with-taints' && typeof value === 'string') {
    return value === '' ? [] : value.split(',').map(parseTaint);
  }
  if (name === 'feature-gates' && typeof value === 'object' && !Array.isArray(value)) return parseGates(value);
  if (name === 'reserved-memory' && typeof value === 'string') return parseReservedMemory(value);
  return value;
}

/** Thresholds are written signal<value on the command line. */
function normalizeThresholds(argv: readonly string[]): string[] {
  const isThresholds = /^--?eviction-(hard|soft)$/;
  return argv.map((arg, index) => {
    const [name = '', ...rest] = arg.split('=');
    if (isThresholds.test(name) && rest.length > 0) return `${name}=${rest.join('=').replaceAll('<', '=')}`;
    return isThresholds.test(argv[index - 1] ?? '') ? arg.replaceAll('<', '=') : arg;
  });
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
  let layered: Fields = typeof values['config'] === 'string' ? loadConfigFile(values['config'], file) : {};
  if (typeof values['config-dir'] === 'string') {
    const dropIns = listDropIns(values['config-dir']).map((path) => loadConfigFile(path, file));
    // A drop-in changes single thresholds also of those that nobody has set.
    if (dropIns.length > 0) layered = { evictionHard: configuration['evictionHard'], ...layered };
    for (const fields of dropIns) layered = mergePatch(layered, fields);
  }
  configuration = applyDefaults(configuration, layered);
  if (configuration['mergeDefaultEvictionSettings'] === true) {
    const eviction = {
      ...defaults.evictionHard,
      ...(isRecord(layered['evictionHard']) ? layered['evictionHard'] : {}),
    };
    configuration = { ...configuration, evictionHard: eviction };
  }
  for (const name of Object.keys(layered)) given.add(name);
  for (const [name, value] of Object.entries(values)) {
    const field = fieldOfFlag[name];
    if (field !== undefined) {
      // Features of the command line are added to those of the file.
      const before = name === 'feature-gates' && isRecord(configuration[field]) ? configuration[field] : undefined;
      const own = fieldValue(name, value);
      setField(configuration, field, before !== undefined && isRecord(own) ? { ...before, ...own } : own);
      given.add(field.split('.')[0] ?? field);
    }
    const ignored = whyIgnored(name);
    if (ignored !== undefined) warnings.push(ignored);
  }
  if (!given.has('serializeImagePulls') && Number(configuration['maxParallelImagePulls'] ?? 1) > 1) {
    configuration = { ...configuration, serializeImagePulls: false };
  }
  warnings.push(
    ...warnOfDeprecated(Object.keys(values)),
    ...warnOfFields(configuration, defaults),
    ...warnOfFeatures(configuration['featureGates']),
  );
  return { configuration, flags: values, given, warnings };
}

/** A duration of the configuration in milliseconds. */
export function durationMs(value: unknown): number {
  return typeof value === 'string' ? parseDurationMs(value) : 0;
}
