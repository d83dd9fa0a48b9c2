// Runs nft on the proxy's table of one family: what is there, and transactions that change it.
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';
import { isAffinitySet, isServiceChain } from '../plan/nftables/object-names.ts';
import type { Leftovers } from '../plan/nftables/rule-set.ts';
import { ipWord, tableName } from '../plan/nftables/rules.ts';

export interface Nft {
  /** Applies lines as one transaction. Throws ExecError. */
  apply(lines: readonly string[]): Promise<void>;
  /** What the table holds now. */
  leftovers(): Promise<Leftovers>;
  /** True when the table is there. */
  hasTable(): Promise<boolean>;
  /** True when a chain of the table has a rule with this text. */
  hasRule(chain: string, text: string): Promise<boolean>;
  /** Why lines like these cannot be applied on this machine; undefined when they can. Changes nothing. */
  refusal(lines: readonly string[]): Promise<string | undefined>;
}

/** Objects of one kind in `nft --json` output, by name. */
function parseObjects(text: string, kind: string): Map<string, Record<string, unknown>> {
  const { nftables } = JSON.parse(text) as { nftables?: Record<string, Record<string, unknown>>[] };
  const objects = new Map<string, Record<string, unknown>>();
  for (const entry of nftables ?? []) {
    const object = entry[kind];
    if (object?.['table'] === tableName && typeof object['name'] === 'string') objects.set(object['name'], object);
  }
  return objects;
}

/** nft for one family. */
export function createNft(exec: Exec, family: IpFamily): Nft {
  const ip = ipWord(family);
  const list = async (what: string): Promise<string> => execOrThrow(exec, 'nft', ['-j', '-t', 'list', what, ip]);
  const hasTable = async (): Promise<boolean> => {
    // `nft list tables` reads every rule of every table first: nine seconds beside 10,000 services of iptables-nft.
    const args = ['--check', 'delete', 'table', ip, tableName];
    const result = await exec('nft', args);
    if (result.exitCode !== 0 && !result.stderr.includes('No such file or directory'))
      throw new ExecError('nft', args, result);
    return result.exitCode === 0;
  };

  return {
    hasTable,
    hasRule: async (chain, text) => {
      const result = await exec('nft', ['-t', 'list', 'chain', ip, tableName, chain]);
      // nft has one code for all failures; that there is no such chain is as good as any.
      return result.exitCode === 0 && result.stdout.includes(text);
    },
    apply: async (lines) => {
      await execOrThrow(exec, 'nft', ['-f', '-'], { input: `${lines.join('\n')}\n` });
    },
    leftovers: async () => {
      if (!(await hasTable())) return { exists: false, chains: [], affinitySets: new Map(), containers: [] };
      const sets = parseObjects(await list('sets'), 'set');
      const maps = parseObjects(await list('maps'), 'map');
      const seconds = (set: Record<string, unknown>): number => Number(set['timeout'] ?? 0);
      return {
        exists: true,
        chains: [...parseObjects(await list('chains'), 'chain').keys()].filter(isServiceChain),
        affinitySets: new Map(
          [...sets].filter(([name]) => isAffinitySet(name)).map(([name, set]) => [name, seconds(set)]),
        ),
        containers: [...sets.keys(), ...maps.keys()],
      };
    },
    refusal: async (lines) => {
      const args = ['--check', '-f', '-'];
      try {
        const result = await exec('nft', args, { input: `${lines.join('\n')}\n` });
        return result.exitCode === 0 ? undefined : new ExecError('nft', args, result).message;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
  };
}

/** Removes the proxy's table and nothing else. Safe to run when there is none. */
export async function cleanupNftables(nft: Nft, family: IpFamily): Promise<void> {
  if (await nft.hasTable()) await nft.apply([`delete table ${ipWord(family)} ${tableName}`]);
}
