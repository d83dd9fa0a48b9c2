// What was made on this machine for the node, and what was there before: an entry is written before the thing is made,
// so that nothing exists without one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { replaceFile } from '#kube/process/replace-file.ts';

/** One thing to undo. */
export type LedgerEntry =
  /** A file or link that was not there. */
  | { kind: 'file'; path: string }
  /** A file that was there, as it was; content in base64. */
  | { kind: 'replaced'; path: string; content: string; mode: number }
  /** A directory that was not there; removed when nothing is left in it. */
  | { kind: 'directory'; path: string }
  /** A directory that was not there and in which only the node writes. */
  | { kind: 'tree'; path: string }
  /** A unit of systemd that was enabled. */
  | { kind: 'unit'; name: string }
  /** A kernel setting as it was. */
  | { kind: 'sysctl'; name: string; value: string }
  /** A network link of pods that was not there. */
  | { kind: 'link'; name: string }
  /** What was mounted where the node mounts: it stays. */
  | { kind: 'mount'; path: string };

export interface Ledger {
  entries(): readonly LedgerEntry[];
  /** Keeps an entry before its thing is made; what is known already is not added again. */
  add(entry: LedgerEntry): Promise<void>;
}

interface LedgerFile {
  version: 1;
  entries: LedgerEntry[];
}

const kinds: readonly string[] = ['file', 'replaced', 'directory', 'tree', 'unit', 'sysctl', 'link', 'mount'];

/** Where the ledger is, below `root`, which is / but in tests. */
export function ledgerPath(root: string): string {
  return join(root, 'var/lib/berth-install/ledger.json');
}

/** What an entry is about: the first entry for it tells how it was before all others. */
export function subjectOf(entry: LedgerEntry): string {
  switch (entry.kind) {
    case 'unit':
    case 'sysctl':
    case 'link':
      return `${entry.kind} ${entry.name}`;
    case 'mount':
      return `mount ${entry.path}`;
    default:
      return entry.path;
  }
}

/** Reads a ledger's text. Throws when it is none. */
export function parseLedger(text: string): LedgerEntry[] {
  const { version, entries } = JSON.parse(text) as Partial<LedgerFile>;
  if (version !== 1 || !Array.isArray(entries)) throw new Error('the ledger is of an unknown version');
  const unknown = entries.find(({ kind }) => !kinds.includes(kind));
  if (unknown !== undefined) throw new Error(`the ledger has an entry of an unknown kind: ${unknown.kind}`);
  return entries;
}

/** The entries of this machine; undefined when nothing was installed. */
export function readLedger(root: string): LedgerEntry[] | undefined {
  let text: string;
  try {
    text = readFileSync(ledgerPath(root), 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  return parseLedger(text);
}

/** Opens the ledger of this machine, or begins one. */
export function openLedger(root: string): Ledger {
  const entries = readLedger(root) ?? [];
  return {
    entries: () => entries,
    async add(entry) {
      if (entries.some((known) => subjectOf(known) === subjectOf(entry))) return;
      entries.push(entry);
      const file: LedgerFile = { version: 1, entries };
      // Files that were replaced may have been secret.
      await replaceFile(ledgerPath(root), `${JSON.stringify(file, undefined, 1)}\n`, {
        mode: 0o600,
        directoryMode: 0o755,
      });
    },
  };
}
