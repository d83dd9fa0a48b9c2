// Constructs the control plane from its configuration and runs it: store, API server, then those who use it.

import { randomUUID } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import { runAsLeader } from '#kube/leader-election/leader-elector.ts';
import { createMetrics } from '#kube/metrics/metrics.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import { UsageError } from '#kube/process/flags.ts';
import { createApiServer } from './apiserver/create-api-server.ts';
import { createProtobufCodec } from './apiserver/protobuf/protobuf-codec.ts';
import type { ControlPlaneConfig } from './config.ts';
import { createControllers } from './controllers/wiring.ts';
import { createInProcessClients } from './in-process-clients.ts';
import { type ClusterPki, ensureClusterPki, writeKubeconfig } from './pki/index.ts';
import { AddressPool } from './registry/allocation/address-pool.ts';
import { applyDefaults } from './registry/defaulting/apply-defaults.ts';
import { loadSchema } from './registry/schema.ts';
import { storagePrefixesOf } from './registry/storage-prefix.ts';
import { printerFor } from './registry/tables/printer-for.ts';
import { validateCreate, validateUpdate } from './registry/validation/validate.ts';
import type { SchedulerElection } from './scheduler/profile/scheduler-config.ts';
import { createScheduler } from './scheduler/wiring.ts';
import type { Backend } from './storage/backend.ts';
import { loadEncryption } from './storage/encryption/encryption-config.ts';
import { plainValues } from './storage/encryption/value-sealer.ts';
import { openStore } from './storage/open-store.ts';

export interface ControlPlaneDeps {
  config: ControlPlaneConfig;
  clock: Clock;
  logger: Logger;
  /** Called with the port in use once the API server is ready. */
  listening?: (port: number) => void;
}

/** Silence that a node is granted after it registered, as in the reference. */
const nodeStartupGraceMs = 60_000;

/** Turns what the file system refused into one line with the flag to change. */
async function prepare<T>(flag: string, dir: string, work: () => Promise<T>): Promise<T> {
  try {
    await mkdir(dir, { recursive: true, mode: 0o700 });
    return await work();
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new UsageError(`cannot use ${dir}, see --${flag}: ${reason}`, { cause: error });
  }
}

async function openPki(config: ControlPlaneConfig, clock: Clock): Promise<ClusterPki> {
  const serverNames = [config.advertiseAddress, new AddressPool(config.serviceCidrs[0]).nth(1), ...config.tlsSanList];
  return await prepare('pki-dir', config.pkiDir, () =>
    ensureClusterPki({ dir: config.pkiDir, serverNames, nowMs: clock.now() }),
  );
}

async function readAuthority(path: string | undefined): Promise<string | undefined> {
  if (path === undefined) return undefined;
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`--kubelet-certificate-authority: cannot read ${path}`, { cause: error });
  }
}

/** An address of this machine at which the server answers. */
function loopbackHost({ bindAddress }: ControlPlaneConfig): string {
  return bindAddress === '0.0.0.0' ? '127.0.0.1' : bindAddress;
}

/** The promise's value, or undefined when the signal comes first. */
async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T | undefined> {
  if (signal.aborted) return undefined;
  const aborted = new Promise<undefined>((resolve) =>
    signal.addEventListener('abort', () => resolve(undefined), { once: true }),
  );
  return await Promise.race([promise, aborted]);
}

async function writeAdminKubeconfig(config: ControlPlaneConfig, pki: ClusterPki, port: number): Promise<void> {
  await writeKubeconfig(join(config.kubeconfigDir, 'admin.kubeconfig'), {
    server: `https://${loopbackHost(config)}:${port}`,
    caPem: pki.ca.certPem,
    client: pki.admin,
    user: 'kubernetes-admin',
  });
}

/** Opens the store and runs everything on it until aborted. Throws UsageError for what the user can fix. */
export async function createControlPlane(deps: ControlPlaneDeps): Promise<Component> {
  const { config, clock, logger } = deps;
  // As upstream's programs call themselves among their equals.
  const identity = `${hostname()}_${randomUUID()}`;
  const pki = await openPki(config, clock);
  const { encryptionFile } = config;
  const sealer = encryptionFile === undefined ? plainValues : loadEncryption(encryptionFile, storagePrefixesOf);
  const backend: Backend = await prepare('data-dir', config.dataDir, () =>
    openStore(config.store, config.dataDir, sealer, createProtobufCodec(loadSchema()).decode, logger),
  );
  const agentCaPem = await readAuthority(config.kubeletCertificateAuthority);
  const listening = Promise.withResolvers<number>();
  const metrics = createMetrics();
  const server = await createApiServer({
    config,
    backend,
    pki,
    agentCaPem,
    metricsRegistry: metrics.registry,
    rules: { applyDefaults, validateCreate, validateUpdate },
    printerFor,
    clock,
    logger,
    listening: listening.resolve,
  });
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  const users: Component = {
    ready: ready.promise,
    run: async (signal) => {
      const port = await untilAborted(listening.promise, signal);
      if (port === undefined) return;
      await prepare('kubeconfig-dir', config.kubeconfigDir, () => writeAdminKubeconfig(config, pki, port));
      const clients = createInProcessClients(
        `https://${loopbackHost(config)}:${port}`,
        pki,
        clock,
        metrics.clientObserver,
      );
      deps.listening?.(port);
      ready.resolve();
      const controllers = createControllers({
        sharedClient: clients.controllerManager,
        clientFor: clients.forController,
        logger,
        clock,
        rootCaPem: pki.ca.certPem,
        signingCa: pki.ca,
        queueObserver: metrics.queueObserver,
        clusterCidr: config.clusterCidr,
        localVolumeDir: config.localVolumeDir,
        settings: config.controllers,
        heartbeatLimits: { graceMs: config.nodeMonitorGraceMs, startupGraceMs: nodeStartupGraceMs },
      });
      const { informers } = controllers;
      const scheduler = createScheduler({
        client: clients.scheduler,
        logger,
        clock,
        registry: metrics.registry,
        config: config.scheduler,
        informers,
      });
      try {
        const lead = (
          election: Partial<SchedulerElection> & Pick<SchedulerElection, 'name' | 'namespace'>,
          client: ApiClient,
          work: readonly Pick<Component, 'run'>[],
        ): Pick<Component, 'run'> => ({
          run: (ended) =>
            (election.leaderElect ?? config.leaderElect)
              ? runAsLeader(
                  { ...election, client, identity, clock, logger },
                  (leading) => runGroup(work, leading),
                  ended,
                ).catch((error: unknown) => {
                  // Nobody waits for a lease any more.
                  if (!ended.aborted) throw error;
                })
              : runGroup(work, ended),
        });
        // The scheduler reads what the controllers' informers hold: only who leads those can lead it.
        const led = lead(config.scheduler.election, clients.scheduler, [scheduler]);
        const managerLease = { name: 'kube-controller-manager', namespace: 'kube-system' };
        await lead(managerLease, clients.controllerManager, [controllers, led]).run(signal);
      } finally {
        await clients.close();
      }
    },
  };
  return {
    ready: ready.promise,
    run: async (signal) => {
      try {
        await runGroup([server, users], signal);
      } catch (error) {
        ready.reject(error);
        throw error;
      } finally {
        await backend.close();
      }
    },
  };
}
