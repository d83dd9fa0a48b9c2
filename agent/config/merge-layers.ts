// The layers of a configuration: defaults, the file, drop-ins in the order of their names (cmd/kubelet/app/server.go:
// mergeKubeletConfigurations). Drop-ins are merge patches: maps key by key, lists as a whole, null removes.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { UsageError } from '#kube/process/flags.ts';
import { configurationShape } from './configuration-shape.ts';

/** Decoded fields of one layer. */
export type Fields = Record<string, unknown>;

/** Numbers whose zero stands for the default, as in the defaulting of the Go type. */
const zeroIsDefault = new Set([
  'port',
  'maxPods',
  'nodeLeaseDurationSeconds',
  'eventBurst',
  'kubeAPIBurst',
  'registryBurst',
  'maxOpenFiles',
]);

/** Whether a value is an object with fields. */
export function isRecord(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Zero values in a file stand for the default, as in the Go type. */
function isUnset(name: string, value: unknown): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (value === 0) return zeroIsDefault.has(name);
  return typeof value === 'string' && /^0(ns|us|µs|ms|s|m|h)?$/.test(value);
}

/** Puts a file over the defaults: structures field by field, everything else as a whole. */
export function applyDefaults(defaults: Fields, over: Fields): Fields {
  const result = { ...defaults };
  for (const [key, value] of Object.entries(over)) {
    const before = result[key];
    const isStructure = isRecord(configurationShape[key]) || ['webhook', 'x509', 'anonymous'].includes(key);
    if (isRecord(before) && isRecord(value) && isStructure) result[key] = applyDefaults(before, value);
    else if (!isUnset(key, value) || before === undefined) result[key] = value;
  }
  return result;
}

/** Applies a merge patch (RFC 7386). */
export function mergePatch(base: Fields, patch: Fields): Fields {
  const result = { ...base };
  for (const [key, value] of Object.entries(patch)) {
    const before = result[key];
    if (value === null) delete result[key];
    else if (isRecord(value)) result[key] = mergePatch(isRecord(before) ? before : {}, value);
    else result[key] = value;
  }
  return result;
}

/** Paths of the drop-ins of a folder and those below it, folder by folder in the order of their names. */
export function listDropIns(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    entries.sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry) => {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) return listDropIns(path);
      return entry.name.endsWith('.conf') ? [path] : [];
    });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`cannot read --config-dir ${directory}: ${(error as Error).message}`, { cause: error });
  }
}
