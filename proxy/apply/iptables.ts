// Runs the iptables programs of one family: what is there, and transactions that change it.
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';
import type { Table } from '../plan/iptables/rules.ts';

const lockWaitSeconds = '5';

/** Chains of a table and the rules in them, as iptables-save prints them. */
export type SavedTable = Map<string, string[]>;

export interface Iptables {
  save(table: Table): Promise<SavedTable>;
  /** A table with its packet counters, as text. */
  saveText(table: Table): Promise<string>;
  /** Applies a transaction without flushing chains that it does not declare. Throws ExecError. */
  restore(text: string): Promise<void>;
  /** Replaces whole tables. Throws ExecError. */
  restoreWhole(text: string): Promise<void>;
  hasChain(table: Table, chain: string): Promise<boolean>;
  /** True when the family can be used on this machine. */
  isSupported(): Promise<boolean>;
}

export function parseSavedTable(text: string): SavedTable {
  const chains: SavedTable = new Map();
  for (const line of text.split('\n')) {
    const declared = /^:(\S+)/.exec(line)?.[1];
    if (declared !== undefined) chains.set(declared, []);
    const added = /^-A (\S+) (.*)$/.exec(line);
    if (added !== null) chains.get(added[1] ?? '')?.push(added[2] ?? '');
  }
  return chains;
}

/** The programs for one family. */
export function createIptables(exec: Exec, family: IpFamily): Iptables {
  const program = family === 'IPv6' ? 'ip6tables' : 'iptables';
  return {
    save: async (table) => parseSavedTable(await execOrThrow(exec, `${program}-save`, ['-t', table])),
    saveText: async (table) => await execOrThrow(exec, `${program}-save`, ['-c', '-t', table]),
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
