// What an applier applied last, by service and port, and what a set of changes means against it. Only states are kept:
// rules depend on nothing else and are planned again when they are needed, which takes less memory than to keep them.
import type { PortState } from '../model/service-state.ts';
import { type ConntrackDeletion, planConntrackCleanup } from '../plan/plan-conntrack.ts';
import type { ServiceState } from './rule-applier.ts';

/** Rules of one port before and after; one of them is absent for a port that is new or gone. */
export interface RulePair<Rules> {
  before?: Rules;
  after?: Rules;
}

export interface PlannedChanges<Rules> {
  /** The rules of the ports that change, planned when asked for. */
  pairs(): RulePair<Rules>[];
  /** The rules of all services once the changes are applied, planned one by one. */
  all(): Iterable<Rules>;
  conntrack: ConntrackDeletion[];
  /** Remembers the changes as applied. */
  commit(): void;
}

export interface AppliedPorts<Rules> {
  plan(changed: ReadonlyMap<string, ServiceState>): PlannedChanges<Rules>;
  /** The sum of the measure over all rules that are applied. */
  readonly total: number;
}

interface StatePair {
  before: PortState | undefined;
  after: PortState | undefined;
}

/** `measure` counts the rules of one port. */
export function createAppliedPorts<Rules>(
  planPort: (state: PortState) => Rules,
  measure: (rules: Rules) => number,
): AppliedPorts<Rules> {
  const applied = new Map<string, ServiceState>();
  const sizes = new Map<string, number>();
  let total = 0;

  function changedPorts(changed: ReadonlyMap<string, ServiceState>): StatePair[] {
    return [...changed].flatMap(([service, states]) => {
      const old = applied.get(service);
      const gone = [...(old ?? [])].filter(([name]) => !states.has(name));
      return [
        ...[...states].map(([name, after]) => ({ before: old?.get(name), after })),
        ...gone.map(([, before]) => ({ before, after: undefined })),
      ];
    });
  }

  return {
    get total() {
      return total;
    },
    plan: (changed) => {
      const next = new Map<string, number>();
      /** Counts while it plans, so that nothing is planned for the count alone. */
      const planService = (service: string, states: ServiceState): Rules[] => {
        const rules = [...states.values()].map(planPort);
        next.set(
          service,
          rules.reduce((sum, each) => sum + measure(each), 0),
        );
        return rules;
      };
      function* all(): Generator<Rules> {
        for (const [service, states] of applied) if (!changed.has(service)) yield* planService(service, states);
        for (const [service, states] of changed) yield* planService(service, states);
      }
      const states = changedPorts(changed);
      return {
        pairs: () => {
          const after = new Map<PortState, Rules>();
          for (const [service, ports] of changed) {
            const rules = planService(service, ports);
            for (const [i, state] of [...ports.values()].entries()) {
              const own = rules[i];
              if (own !== undefined) after.set(state, own);
            }
          }
          return states.map((pair) => {
            const planned = pair.after === undefined ? undefined : after.get(pair.after);
            return {
              ...(pair.before === undefined ? {} : { before: planPort(pair.before) }),
              ...(planned === undefined ? {} : { after: planned }),
            };
          });
        },
        all,
        conntrack: states.flatMap(({ before, after }) => planConntrackCleanup(before, after)),
        commit: () => {
          for (const [service, size] of next) {
            total += size - (sizes.get(service) ?? 0);
            sizes.set(service, size);
          }
          for (const [service, ports] of changed) {
            if (ports.size > 0) {
              applied.set(service, ports);
              continue;
            }
            total -= sizes.get(service) ?? 0;
            sizes.delete(service);
            applied.delete(service);
          }
        },
      };
    },
  };
}

/** At start flows may be older than this process: only entries that were never translated are surely stale. */
export function isSafeAtStart({ endpointIP, originalDestination }: ConntrackDeletion): boolean {
  return endpointIP === undefined && originalDestination !== undefined;
}
