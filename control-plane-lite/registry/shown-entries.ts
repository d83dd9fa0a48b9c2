// Stored entries as a served version shows them. For most resources that is the stored form itself; custom resources
// may have another version in the store, or defaults that came after the object.
import type { KubeObject } from '#kube/api/resource.ts';
import type { StoredEntry, Write } from '../storage/backend.ts';
import { objectBytes, serialiseAround } from '../storage/object-bytes.ts';
import type { Registry } from './registry.ts';
import type { ServedResource } from './resource-table.ts';
import type { Steps } from './steps.ts';

/** A value, or how to get it where somebody has to be asked. */
export type Obtained<T> = T | (() => Promise<T>);

/** How one version of a custom resource shows what is stored, and stores what it is given. */
export interface CustomView {
  show(entries: readonly StoredEntry[]): Obtained<StoredEntry[]>;
  toStorage(object: KubeObject): Obtained<KubeObject>;
  /** Whether an entry is stored in the version that is to be stored now. */
  isCurrent(entry: StoredEntry): boolean;
  /** Whether what is shown may differ from what is stored. */
  readonly converts: boolean;
}

/** Waits for what has to be asked for. */
export function* obtain<T>(obtained: Obtained<T>): Steps<T> {
  if (typeof obtained !== 'function') return obtained;
  const ask = obtained as () => Promise<T>;
  const answers: T[] = [];
  yield async () => {
    answers.push(await ask());
  };
  const [answer] = answers;
  return answer as T;
}

/** The entries in the served version. Rejects with StatusError when they cannot be converted. */
export async function shownEntries(
  { view }: Pick<ServedResource, 'view'>,
  entries: readonly StoredEntry[],
): Promise<readonly StoredEntry[]> {
  const shown = view?.show(entries) ?? entries;
  return typeof shown === 'function' ? await shown() : shown;
}

/** One entry in the served version, within a plan. */
export function* shownEntry({ view }: ServedResource, entry: StoredEntry): Steps<StoredEntry> {
  if (view === undefined) return entry;
  const [shown] = yield* obtain(view.show([entry]));
  return shown ?? entry;
}

/** The write that stores an object of the served version. */
export function* writeOf(registry: Registry, served: ServedResource, object: KubeObject): Steps<Write> {
  const stored = served.view === undefined ? object : yield* obtain(served.view.toStorage(object));
  return { type: 'put', ...serialiseAround(stored), memo: registry.readAttributes(served, stored) };
}

/** The entry that was written, as the served version shows it. */
export function writtenEntry({ view }: ServedResource, entry: StoredEntry, object: KubeObject): StoredEntry {
  if (view?.converts !== true) return entry;
  const { head, tail } = serialiseAround(object);
  return { key: entry.key, revision: entry.revision, value: objectBytes(head, entry.revision, tail) };
}
