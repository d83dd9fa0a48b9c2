// What the sync loop needs of a proxy mode: states of services in, rules in the kernel out.
import type { PortState } from '../model/service-state.ts';
import type { ConntrackDeletion } from '../plan/plan-conntrack.ts';

/** The ports of a service by name; none for a service that is gone. */
export type ServiceState = ReadonlyMap<string, PortState>;

export interface SyncResult {
  full: boolean;
  /** Rule lines sent. */
  lines: number;
  /** To be deleted now that the rules are in place. */
  conntrack: ConntrackDeletion[];
}

/** One mode in one family. Remembers what it applied; a full sync follows a start, a failure and `forceFull`. */
export interface RuleApplier {
  /** Applies new states of the given services; ports that are absent are removed. Throws when the kernel refused. */
  sync(changed: ReadonlyMap<string, ServiceState>): Promise<SyncResult>;
  /** Makes the next sync a full one. */
  forceFull(): void;
  /** False when someone removed our rules. Called every sync period. */
  isIntact(): Promise<boolean>;
  /** Removes what could not go at once. True when something is left to be removed later. */
  tidy?(): Promise<boolean>;
  readonly ruleCount: number;
}
