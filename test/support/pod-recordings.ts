// Recordings of pods on a kubelet, and what both sides of a comparison look like: without times, random names, ids,
// zero values and orders that are not decided.
import { readFileSync } from 'node:fs';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { SeenVersion } from './fake-pod-api.ts';
import type { RecordedCall } from './fake-runtime.ts';

export interface PodRecording {
  object: Pod;
  cri: RecordedCall[];
  status: { event: string; deleting?: boolean; status: unknown }[];
  events: { reason: string; message: string; type: string; fieldPath?: string }[];
}

export function loadPodRecording(name: string): PodRecording {
  return JSON.parse(readFileSync(new URL(`../data/pods/${name}.json`, import.meta.url), 'utf8'));
}

type Json = Record<string, unknown>;

/** Fields whose keys are data and not names of fields. */
const maps = new Set(['labels', 'annotations', 'sysctls', 'unified']);
const times = new Set(['startTime', 'startedAt', 'finishedAt', 'lastTransitionTime']);
/** What cgroup v1 says where there is no limit; the recorded node showed it as if it were one. */
const noLimit = '9007199254740988Ki';

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

function isZero(value: unknown): boolean {
  return value === 0 || value === '' || value === false || (Array.isArray(value) && value.length === 0);
}

/** First values of the enumerations in requests: as good as absent. */
const zeroEnums = new Set(['POD', 'RuntimeDefault', 'TCP', 'PROPAGATION_PRIVATE', 'Merge', 'RUNTIME_DEFAULT']);

/** A request as the wire has it: snake case, without zero values. */
function wire(value: unknown, field: string): unknown {
  if (Buffer.isBuffer(value)) return value.toString();
  if (Array.isArray(value)) return value.map((item) => wire(item, ''));
  if (typeof value !== 'object' || value === null) return value;
  if (maps.has(field)) return value;
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined && item !== null && !isZero(item))
    .filter(([, item]) => !(typeof item === 'string' && zeroEnums.has(item)))
    .map(([key, item]) => [snake(key), wire(item, key)] as const)
    .filter(([key, item]) => !(maps.has(key) && Object.keys(item as Json).length === 0));
  return Object.fromEntries(entries);
}

/** Replaces what differs from run to run in every text. */
export function scrub(value: unknown, rules: [RegExp | string, string][], key = ''): unknown {
  if (typeof value === 'string') {
    if (times.has(key) || key === 'kubernetes.io/config.seen') return '<time>';
    return rules.reduce<string>((text, [from, to]) => text.replaceAll(from, to), value);
  }
  if (Array.isArray(value)) return value.map((item) => scrub(item, rules, key));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== null && item !== undefined)
      .map(([name, item]) => [name, scrub(item, rules, name)]),
  );
}

function sortEnvs(call: RecordedCall): RecordedCall {
  const config = call.request['config'] as Json | undefined;
  const envs = config?.['envs'];
  if (!Array.isArray(envs)) return call;
  const sorted = [...envs].sort((a: Json, b: Json) => (String(a['key']) < String(b['key']) ? -1 : 1));
  return { ...call, request: { ...call.request, config: { ...config, envs: sorted } } };
}

/** Containers that stop together stop in no particular order. */
function sortParallel(calls: RecordedCall[], sidecars: boolean): RecordedCall[] {
  if (sidecars) return calls;
  const result: RecordedCall[] = [];
  for (const call of calls) {
    let at = result.length;
    while (at > 0 && call.call === 'StopContainer' && result[at - 1]?.call === 'StopContainer') {
      if (JSON.stringify(result[at - 1]) <= JSON.stringify(call)) break;
      at -= 1;
    }
    result.splice(at, 0, call);
  }
  return result;
}

/** Calls in order, removals of ended containers apart: those run beside everything else. */
export function comparableCalls(calls: RecordedCall[], rules: [RegExp | string, string][], sidecars: boolean) {
  const clean = calls.map((call) =>
    sortEnvs(scrub({ ...call, request: wire(call.request, '') }, rules) as RecordedCall),
  );
  return {
    inOrder: sortParallel(
      clean.filter(({ call }) => call !== 'RemoveContainer'),
      sidecars,
    ),
    removals: clean
      .filter(({ call }) => call === 'RemoveContainer')
      .map((call) => JSON.stringify(call))
      .sort(),
  };
}

/** A condition that only this agent has. */
const ownCondition = 'berth.io/Blocked';

function withoutOwnCondition(status: Json): Json {
  const conditions = status['conditions'] as Json[] | undefined;
  return conditions === undefined
    ? status
    : { ...status, conditions: conditions.filter(({ type }) => type !== ownCondition) };
}

function withoutNoLimit(status: Json): Json {
  const resources = status['resources'] as { limits?: Json } | undefined;
  if (resources?.limits?.['memory'] !== noLimit) return status;
  return { ...status, resources: {} };
}

/** Statuses in order, without repetitions. */
export function comparableStatuses(
  versions: (SeenVersion | PodRecording['status'][number])[],
  rules: [RegExp | string, string][],
) {
  const result: unknown[] = [];
  for (const { event, status } of versions) {
    const entry = sortKeys({ event, status: withoutOwnCondition(withoutNoLimit(scrub(status, rules) as Json)) });
    // A request to delete, or any other change that is not of the status, repeats it.
    if (JSON.stringify(entry) !== JSON.stringify(result.at(-1))) result.push(entry);
  }
  return result;
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sortKeys(item)]));
}
