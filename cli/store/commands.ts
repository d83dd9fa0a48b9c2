// `berth backup`, `berth restore`, `berth migrate`: the store of a control plane as a file, and on its way to etcd.
import { join, resolve } from 'node:path';
import { systemClock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { backUp, migrateStore, restore } from '../../control-plane-lite/storage/backup/index.ts';

export interface StoreOptions {
  instance: string;
  dataDir?: string;
}

export interface MigrateOptions extends StoreOptions {
  to: string;
  etcdCafile?: string;
  etcdCertfile?: string;
  etcdKeyfile?: string;
  encryptionProviderConfig?: string;
}

const dataDirOf = ({ instance, dataDir }: StoreOptions): string =>
  dataDir ?? join('/var/lib', instance, 'control-plane');

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

/** What went wrong is the user's to put right: one line, no trace. */
async function inOneLine<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof Error ? new UsageError(error.message, { cause: error }) : error;
  }
}

/** Writes a verified copy of the store, in use or not. */
export async function runBackup(file: string, options: StoreOptions): Promise<void> {
  const summary = await inOneLine(() => backUp(dataDirOf(options), resolve(file), systemClock));
  say(`${file}: ${summary.objects} objects at revision ${summary.revision}, read again and found whole`);
}

/** Makes the store of a stopped control plane one with the objects of a backup. */
export async function runRestore(file: string, options: StoreOptions & { force: boolean }): Promise<void> {
  const dataDir = dataDirOf(options);
  const { objects, takenAt, putAside } = await inOneLine(() =>
    restore(resolve(file), dataDir, systemClock, { replace: options.force }),
  );
  if (putAside !== undefined) say(`the store that was there: ${putAside}`);
  say(`${dataDir}: ${objects} objects of ${takenAt}`);
}

/** Copies the store of a stopped control plane to etcd and compares. */
export async function runMigrate(options: MigrateOptions): Promise<void> {
  if (!/^etcd=\S+$/.test(options.to)) throw new UsageError(`--to takes etcd=URL,..., not "${options.to}"`);
  const store = {
    kind: 'etcd' as const,
    endpoints: options.to.slice('etcd='.length),
    caFile: options.etcdCafile,
    certFile: options.etcdCertfile,
    keyFile: options.etcdKeyfile,
  };
  const { objects, alreadyThere } = await inOneLine(() =>
    migrateStore({ dataDir: dataDirOf(options), store, encryptionFile: options.encryptionProviderConfig }),
  );
  say(`${objects} objects are on etcd, ${alreadyThere} of them from before; each was compared`);
  say(`start the control plane with --store ${options.to}`);
}
