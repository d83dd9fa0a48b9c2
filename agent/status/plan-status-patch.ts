// The strategic merge patch that turns the status the API server has into the wanted one. Pure.
import { isDeepStrictEqual } from 'node:util';
import type { PodCondition, PodStatus } from '#kube/api/generated/core-v1.ts';
import { disruptionReason, ownedConditions } from './compute-conditions.ts';

/** Lists that strategic merge joins by a key, so that they have to be patched item by item. */
const mergeKeys: Record<string, string> = { conditions: 'type', podIPs: 'ip', hostIPs: 'ip' };
/** Fields that this agent does not write. */
const foreign = new Set([
  'nominatedNodeName',
  'resourceClaimStatuses',
  'resize',
  'extendedResourceClaimStatus',
  'nodeAllocatableResourceClaimStatuses',
]);

type Fields = Record<string, unknown>;

/** Without absent and null fields, in which equal statuses may differ. */
function normalize(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(normalize);
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined && item !== null);
  return Object.fromEntries(entries.map(([key, item]) => [key, normalize(item)]));
}

function isOwned(condition: PodCondition): boolean {
  if (condition.type === 'DisruptionTarget') return condition.reason === disruptionReason;
  return ownedConditions.some((type) => type === condition.type);
}

/** Conditions of others are neither compared nor touched. */
function fieldsOf(status: PodStatus | undefined): Fields {
  const own = { ...status, ...(status?.conditions && { conditions: status.conditions.filter(isOwned) }) };
  return Object.fromEntries(Object.entries(own).map(([key, value]) => [key, normalize(value)]));
}

function keyed(list: unknown, key: string): Map<unknown, Fields> {
  const items = Array.isArray(list) ? (list as Fields[]) : [];
  return new Map(items.map((item) => [item[key], item]));
}

function patchList(current: unknown, wanted: unknown, key: string): Fields[] {
  const before = keyed(current, key);
  const after = keyed(wanted, key);
  const changes: Fields[] = [];
  for (const [name, item] of after) {
    const old = before.get(name);
    if (isDeepStrictEqual(old, item)) continue;
    const dropped = Object.keys(old ?? {}).filter((field) => !(field in item));
    changes.push({ ...item, ...Object.fromEntries(dropped.map((field) => [field, null])) });
  }
  for (const name of before.keys()) if (!after.has(name)) changes.push({ $patch: 'delete', [key]: name });
  return changes;
}

/** Undefined when there is nothing to change. `uid` guards against a new pod of the same name. */
export function planStatusPatch(
  uid: string,
  current: PodStatus | undefined,
  wanted: PodStatus,
): { metadata: { uid: string }; status: Fields } | undefined {
  const before = fieldsOf(current);
  const after = fieldsOf(wanted);
  const status: Fields = {};
  for (const name of new Set([...Object.keys(before), ...Object.keys(after)])) {
    if (foreign.has(name) || isDeepStrictEqual(before[name], after[name])) continue;
    const key = mergeKeys[name];
    if (after[name] === undefined) {
      if (before[name] !== undefined) status[name] = null;
    } else if (key === undefined) status[name] = replacement(before[name], after[name]);
    else {
      const changes = patchList(before[name], after[name], key);
      if (changes.length === 0) continue;
      status[name] = changes;
      const order = Array.isArray(after[name]) ? (after[name] as Fields[]) : [];
      status[`$setElementOrder/${name}`] = order.map((item) => ({ [key]: item[key] }));
    }
  }
  return Object.keys(status).length === 0 ? undefined : { metadata: { uid }, status };
}

/** Maps are merged by the server: keys that are gone have to be named. */
function replacement(before: unknown, after: unknown): unknown {
  const isMap = (value: unknown): value is Fields =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  if (!isMap(before) || !isMap(after)) return after;
  const result: Fields = {};
  for (const [key, value] of Object.entries(after)) result[key] = replacement(before[key], value);
  for (const key of Object.keys(before)) if (!(key in after)) result[key] = null;
  return result;
}
