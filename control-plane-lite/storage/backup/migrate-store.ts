// The move of a control plane's store to etcd, from the files and addresses that the user names.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { StoreConfig } from '../../config.ts';
import { storagePrefixesOf } from '../../registry/storage-prefix.ts';
import { loadEncryption } from '../encryption/encryption-config.ts';
import { plainValues } from '../encryption/value-sealer.ts';
import { openLmdbBackend } from '../lmdb/lmdb-backend.ts';
import { connectEtcd } from '../open-store.ts';
import { type MigrationSummary, migrateToEtcd } from './migrate.ts';

export interface MigrateStoreOptions {
  dataDir: string;
  store: Extract<StoreConfig, { kind: 'etcd' }>;
  encryptionFile: string | undefined;
}

/** Throws when the store is in use, or etcd cannot be reached or holds something else. */
export async function migrateStore(options: MigrateStoreOptions): Promise<MigrationSummary> {
  const { dataDir, store, encryptionFile } = options;
  const sealer = encryptionFile === undefined ? plainValues : loadEncryption(encryptionFile, storagePrefixesOf);
  if (!existsSync(join(dataDir, 'store', 'data.mdb'))) throw new Error(`there is no store in ${dataDir}`);
  const backend = await openLmdbBackend(dataDir, sealer);
  try {
    const etcd = await connectEtcd(store);
    try {
      return await migrateToEtcd(backend, etcd, sealer);
    } finally {
      etcd.close();
    }
  } finally {
    await backend.close();
  }
}
