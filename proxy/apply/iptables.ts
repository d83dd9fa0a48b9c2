// Runs the iptables programs of one family: what is there, and transactions that change it.
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';
import { tables } from '../plan/iptables/rule-set.ts';
import type { Table } from '../plan/iptables/rules.ts';

const lockWaitSeconds = '5';

/** A table as iptables-save prints it with counters, and the rules of each of its chains without them. */
export interface SavedTable {
  text: string;
  chains: Map<string, string[]>;
}

export interface Iptables {
  /** All tables at once: on the nft backend each call reads all that the kernel has. */
  save(): Promise<Record<Table, SavedTable>>;
  /** Applies a transaction without flushing chains that it does not declare. Throws ExecError. */
  restore(text: string): Promise<void>;
  /** Replaces whole tables. Throws ExecError. */
  restoreWhole(text: string): Promise<void>;
  hasChain(table: Table, chain: string): Promise<boolean>;
  /** True when the family can be used on this machine. */
  isSupported(): Promise<boolean>;
}

/** Splits what iptables-save prints; a table that is not there is empty. */
export function parseSavedTables(text: string): Record<Table, SavedTable> {
  const lines: Record<Table, string[]> = { mangle: [], filter: [], nat: [] };
  const chains: Record<Table, SavedTable['chains']> = { mangle: new Map(), filter: new Map(), nat: new Map() };
  let current: Table | undefined;
  for (const line of text.split('\n')) {
    const begun = /^\*(\S+)/.exec(line)?.[1];
    if (begun !== undefined) current = tables.find((table) => table === begun);
    // Said of a table in place of its rules.
    const foreign = /^# Table `(\S+)' is incompatible/.exec(line)?.[1];
    const table = foreign === undefined ? current : tables.find((name) => name === foreign);
    if (table === undefined) continue;
    lines[table].push(line);
    const declared = /^:(\S+)/.exec(line)?.[1];
    if (declared !== undefined) chains[table].set(declared, []);
    const added = /^(?:\[\d+:\d+\] )?-A (\S+) (.*)$/.exec(line);
    if (added !== null) chains[table].get(added[1] ?? '')?.push(added[2] ?? '');
  }
  const saved = (table: Table): SavedTable => ({ text: lines[table].join('\n'), chains: chains[table] });
  return { mangle: saved('mangle'), filter: saved('filter'), nat: saved('nat') };
}

/** The programs for one family. */
export function createIptables(exec: Exec, family: IpFamily): Iptables {
  const program = family === 'IPv6' ? 'ip6tables' : 'iptables';
  return {
    save: async () => parseSavedTables(await execOrThrow(exec, `${program}-save`, ['-c'])),
    restoreWhole: async (text) => {
      await execOrThrow(exec, `${program}-restore`, ['-w', lockWaitSeconds, '--counters'], { input: text });
    },
    restore: async (text) => {
      await execOrThrow(exec, `${program}-restore`, ['-w', lockWaitSeconds, '--noflush'], { input: text });
    },
    hasChain: async (table, chain) => {
      const args = ['-w', lockWaitSeconds, '-t', table, '-S', chain, '1'];
      const result = await exec(program, args);
      if (result.exitCode === 0) return true;
      // 1: no such chain; anything else is a failure of the program.
      if (result.exitCode === 1) return false;
      throw new ExecError(program, args, result);
    },
    isSupported: async () => {
      const result = await exec(program, ['-w', lockWaitSeconds, '-t', 'nat', '-S', 'POSTROUTING']);
      return result.exitCode === 0;
    },
  };
}
