// Whether the next sync writes everything or only the difference: everything at first, when it is asked for, and after a
// sync that failed.
import type { RuleApplier, ServiceState, SyncResult } from './rule-applier.ts';

/** `run` makes one sync, a full one where it is told so. */
export function createFullSyncs(
  run: (full: boolean, changed: ReadonlyMap<string, ServiceState>) => Promise<SyncResult>,
): Pick<RuleApplier, 'sync' | 'forceFull'> {
  let needsFull = true;
  return {
    forceFull: () => {
      needsFull = true;
    },
    async sync(changed) {
      const full = needsFull;
      // Not later: a full sync may be asked for while this one runs.
      needsFull = false;
      try {
        return await run(full, changed);
      } catch (error) {
        needsFull = true;
        throw error;
      }
    },
  };
}
