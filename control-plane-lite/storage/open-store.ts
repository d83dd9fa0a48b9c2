// Opens the store that the configuration names.
import { readFile } from 'node:fs/promises';
import type { Logger } from 'pino';
import { UsageError } from '#kube/process/flags.ts';
import type { StoreConfig } from '../config.ts';
import type { Backend } from './backend.ts';
import type { ValueSealer } from './encryption/value-sealer.ts';
import type { EtcdClient } from './etcd/etcd-client.ts';
import type { DecodeStored } from './etcd/stored-form.ts';

async function readOptional(path: string | undefined, flag: string): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--${flag}: cannot read ${path}`, { cause: error });
  }
}

/**
 * Throws UsageError when the store cannot be used. `decode` reads objects in protobuf, as others may have written them.
 * Only the module of the wanted store is loaded.
 */
export async function openStore(
  store: StoreConfig,
  dataDir: string,
  sealer: ValueSealer,
  decode: DecodeStored,
  logger: Logger,
): Promise<Backend> {
  if (store.kind === 'embedded') {
    const { openLmdbBackend } = await import('./lmdb/lmdb-backend.ts');
    return await openLmdbBackend(dataDir, sealer);
  }
  const { openEtcdBackend } = await import('./etcd/etcd-backend.ts');
  try {
    return await openEtcdBackend(await connectEtcd(store), logger, { sealer, decode });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`cannot use etcd at ${store.endpoints}, see --store: ${reason}`, { cause: error });
  }
}

/** Throws UsageError when a file cannot be read. */
export async function connectEtcd(store: Extract<StoreConfig, { kind: 'etcd' }>): Promise<EtcdClient> {
  const [caPem, certPem, keyPem] = await Promise.all([
    readOptional(store.caFile, 'etcd-cafile'),
    readOptional(store.certFile, 'etcd-certfile'),
    readOptional(store.keyFile, 'etcd-keyfile'),
  ]);
  const { createEtcdClient } = await import('./etcd/etcd-client.ts');
  return createEtcdClient(store.endpoints, { caPem, certPem, keyPem });
}
