// Finds the services whose rules the kernel refuses, by halving, so that they hold back no others.
import type { RuleApplier, ServiceState, SyncResult } from './rule-applier.ts';

/** One service that cannot be applied, and why. */
export interface RefusedService {
  key: string;
  error: unknown;
}

export interface IsolatedSync {
  /** Of all that was applied together. */
  result: SyncResult;
  applied: ReadonlySet<string>;
  refused: RefusedService[];
}

const nothing: ReadonlyMap<string, ServiceState> = new Map();

function merge(a: SyncResult, b: SyncResult): SyncResult {
  return { full: a.full || b.full, lines: a.lines + b.lines, conntrack: [...a.conntrack, ...b.conntrack] };
}

/**
 * Applies what can be applied. Throws when even what was applied before cannot be written any more: then the services
 * are not to blame. The rules of a refused service stay as they were.
 */
export async function syncIsolating(
  applier: RuleApplier,
  changed: ReadonlyMap<string, ServiceState>,
): Promise<IsolatedSync> {
  const outcome: IsolatedSync = {
    result: { full: false, lines: 0, conntrack: [] },
    applied: new Set(changed.keys()),
    refused: [],
  };
  try {
    outcome.result = await applier.sync(changed);
    return outcome;
  } catch (error) {
    if (changed.size === 0) throw error;
    outcome.result = await applier.sync(nothing);
    if (changed.size === 1) for (const key of changed.keys()) outcome.refused.push({ key, error });
  }

  async function halve(part: readonly [string, ServiceState][]): Promise<void> {
    const middle = Math.ceil(part.length / 2);
    for (const half of [part.slice(0, middle), part.slice(middle)]) {
      if (half.length === 0) continue;
      try {
        outcome.result = merge(outcome.result, await applier.sync(new Map(half)));
      } catch (error) {
        const [only, ...more] = half;
        if (only !== undefined && more.length === 0) outcome.refused.push({ key: only[0], error });
        else await halve(half);
      }
    }
  }
  if (changed.size > 1) {
    await halve([...changed]);
    // What a refused one may have left half-done is put right.
    if (outcome.refused.length > 0) outcome.result = merge(outcome.result, await applier.sync(nothing));
  }
  const refused = new Set(outcome.refused.map(({ key }) => key));
  return { ...outcome, applied: new Set([...changed.keys()].filter((key) => !refused.has(key))) };
}
