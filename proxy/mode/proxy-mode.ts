// What a mode of the proxy is: what it needs, how it begins and how it leaves.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { KeptChains } from '../apply/iptables-cleanup.ts';
import type { RuleApplier } from '../apply/rule-applier.ts';
import { watchXtablesLock } from '../apply/xtables-lock.ts';
import type { ModeName, ProxyConfig } from '../config/proxy-config.ts';
import type { DetectLocal } from '../model/detect-local.ts';
import type { LocalAddresses } from '../model/node-port-addresses.ts';
import type { IpFamily } from '../model/service-port.ts';

/** What rules depend on besides Services and the configuration. */
export interface NodeFacts {
  detectLocal: DetectLocal;
  addresses: LocalAddresses;
  /** May change while the proxy runs. */
  serviceCIDRs(): readonly string[];
}

export interface ProxyMode {
  name: ModeName;
  /** Why the mode cannot be used for a family here; undefined when it can. */
  refusal(family: IpFamily): Promise<string | undefined>;
  /** Makes what takes more rights than rules do. A proxy that runs does it by itself; absent: there is nothing. */
  prepare?(family: IpFamily): Promise<void>;
  createApplier(family: IpFamily, node: NodeFacts): RuleApplier;
  /** iptables chains that a mode which leaves must not remove; undefined for a mode without any. */
  keptChains(family: IpFamily): KeptChains | undefined;
  /**
   * Removes all rules of the mode, except what the mode that took over has made its own. Safe to run when there are
   * none, and where the mode cannot be used.
   */
  cleanup(family: IpFamily, kept?: KeptChains): Promise<void>;
}

export interface ModeDependencies {
  config: ProxyConfig;
  exec: Exec;
  clock: Clock;
  logger: Logger;
}

/** Runs the programs of iptables, and says who keeps them waiting. */
export function iptablesExec({ exec, clock, logger }: ModeDependencies): Exec {
  return watchXtablesLock(exec, { clock, root: '/', ownPid: process.pid, logger });
}

/** Why iptables cannot be used for a family; undefined when it can. */
export async function iptablesRefusal(iptables: { isSupported(): Promise<boolean> }): Promise<string | undefined> {
  try {
    return (await iptables.isSupported()) ? undefined : 'iptables finds no nat table in the kernel';
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
