// What an applier applied last, by service and port, and what a set of changes means against it.
import type { PortState } from '../model/service-state.ts';
import { type ConntrackDeletion, planConntrackCleanup } from '../plan/plan-conntrack.ts';
import type { ServiceState } from './rule-applier.ts';

interface Applied<Rules> {
  state: PortState;
  rules: Rules;
}

/** Rules of one port before and after; one of them is absent for a port that is new or gone. */
export interface RulePair<Rules> {
  before?: Rules;
  after?: Rules;
}

export interface PlannedChanges<Rules> {
  pairs: RulePair<Rules>[];
  /** The rules of all services once the changes are applied. */
  all(): Rules[];
  conntrack: ConntrackDeletion[];
  /** Remembers the changes as applied. */
  commit(): void;
}

export interface AppliedPorts<Rules> {
  plan(changed: ReadonlyMap<string, ServiceState>): PlannedChanges<Rules>;
  /** The sum of a measure over all rules. */
  total(measure: (rules: Rules) => number): number;
}

type Ports<Rules> = Map<string, Applied<Rules>>;

function rulesOf<Rules>(services: Iterable<Ports<Rules>>): Rules[] {
  return [...services].flatMap((ports) => [...ports.values()].map(({ rules }) => rules));
}

export function createAppliedPorts<Rules>(planPort: (state: PortState) => Rules): AppliedPorts<Rules> {
  const applied = new Map<string, Ports<Rules>>();
  return {
    total: (measure) => {
      let sum = 0;
      for (const ports of applied.values()) for (const { rules } of ports.values()) sum += measure(rules);
      return sum;
    },
    plan: (changed) => {
      const next = new Map<string, Ports<Rules>>();
      const pairs: RulePair<Rules>[] = [];
      const conntrack: ConntrackDeletion[] = [];
      const add = (before: Applied<Rules> | undefined, after: Applied<Rules> | undefined): void => {
        pairs.push({
          ...(before === undefined ? {} : { before: before.rules }),
          ...(after === undefined ? {} : { after: after.rules }),
        });
        conntrack.push(...planConntrackCleanup(before?.state, after?.state));
      };
      for (const [service, states] of changed) {
        const ports: Ports<Rules> = new Map();
        for (const [name, state] of states) {
          const after = { state, rules: planPort(state) };
          ports.set(name, after);
          add(applied.get(service)?.get(name), after);
        }
        for (const [name, before] of applied.get(service) ?? []) if (!ports.has(name)) add(before, undefined);
        next.set(service, ports);
      }
      return {
        pairs,
        conntrack,
        all: () => rulesOf(new Map([...applied, ...next]).values()),
        commit: () => {
          for (const [service, ports] of next) {
            if (ports.size === 0) applied.delete(service);
            else applied.set(service, ports);
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
