// Moves all objects from the embedded store to etcd, where a stock API server finds them too. The embedded store stays as
// it is. Can be run again after an interruption: what is there already and equal is left alone.
import type { Backend, StoredEntry } from '../backend.ts';
import type { ValueSealer } from '../encryption/value-sealer.ts';
import type { EtcdClient } from '../etcd/etcd-client.ts';
import { withRevision } from '../object-bytes.ts';

const writesAtOnce = 64;
const keysPerPage = 500;
const registry = '/registry/';
const registryEnd = Buffer.from('/registry0');

export interface MigrationSummary {
  objects: number;
  /** Of them, how many were there already. */
  alreadyThere: number;
}

/** What etcd holds of an object: without a revision, which etcd itself keeps. */
const comparable = (value: Buffer): string => withRevision(value, '').toString();

async function* readAll(etcd: EtcdClient): AsyncGenerator<{ key: string; value: Buffer }> {
  for (let from: Buffer | undefined = Buffer.from(registry), revision: number | undefined; from !== undefined; ) {
    const page = await etcd.range({
      key: from,
      rangeEnd: registryEnd,
      limit: keysPerPage,
      ...(revision === undefined ? {} : { revision }),
    });
    revision ??= page.revision;
    for (const { key, value } of page.kvs) yield { key: key.toString(), value };
    const last = page.kvs.at(-1);
    from = page.more && last !== undefined ? Buffer.concat([last.key, Buffer.from([0])]) : undefined;
  }
}

/** Throws where something on etcd is not one of the objects. Answers the keys that are there. */
async function compare(
  etcd: EtcdClient,
  sealer: ValueSealer,
  wanted: ReadonlyMap<string, StoredEntry>,
): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const { key, value } of readAll(etcd)) {
    const entry = wanted.get(key);
    if (entry === undefined) throw new Error(`etcd has objects of another cluster already, such as ${key}`);
    if (comparable(sealer.open(key, value).value) !== comparable(entry.value))
      throw new Error(`${key} on etcd differs from the one of the store`);
    found.add(key);
  }
  return found;
}

/** Copies and compares every object. Throws, with the store unchanged, when etcd holds anything else. */
export async function migrateToEtcd(store: Backend, etcd: EtcdClient, sealer: ValueSealer): Promise<MigrationSummary> {
  const { entries } = await store.range('');
  const wanted = new Map(entries.map((entry) => [entry.key, entry]));
  const there = await compare(etcd, sealer, wanted);
  const missing = entries.filter(({ key }) => !there.has(key));
  let next = 0;
  const write = async (): Promise<void> => {
    for (let entry = missing[next++]; entry !== undefined; entry = missing[next++]) {
      const { key, value } = entry;
      const { succeeded } = await etcd.replace(Buffer.from(key), 0, sealer.seal(key, withRevision(value, '')));
      if (!succeeded) throw new Error(`somebody else has written ${key} to etcd`);
    }
  };
  await Promise.all(Array.from({ length: writesAtOnce }, write));
  const copied = await compare(etcd, sealer, wanted);
  if (copied.size !== wanted.size) throw new Error(`etcd has ${copied.size} of ${wanted.size} objects after the copy`);
  return { objects: wanted.size, alreadyThere: there.size };
}
