// Watches the directory in which plugins of the node leave their registration sockets, asks each new one what it is,
// hands it to the handler of its kind and tells it how that went (pkg/kubelet/pluginmanager).
import { watch } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { type PluginSocket, planRegistrations } from './plan-registrations.ts';
import type { PluginFacts, PluginHandler } from './plugin-handler.ts';
import { openRegistration, type RegistrationClient } from './registration-client.ts';

/** Nothing depends on it where the kernel tells of changes. */
const rescanMs = 10_000;
const retryBaseMs = 500;
const retryMaxMs = 120_000;

export interface PluginRegistryOptions {
  /** plugins_registry below the agent's root directory. */
  directory: string;
  handlers: readonly PluginHandler[];
  clock: Clock;
  logger: Logger;
  open?: (socketPath: string) => RegistrationClient;
}

export interface PluginRegistry {
  run(signal: AbortSignal): Promise<void>;
}

interface Known {
  identity: string;
  /** Set once a handler has taken the plugin. */
  taken: { handler: PluginHandler; facts: PluginFacts } | undefined;
  failures: number;
  retryAtMs: number;
}

/** Sockets in the directory and below; hidden ones are not meant. */
async function findSockets(directory: string): Promise<PluginSocket[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const sockets: PluginSocket[] = [];
  for (const entry of entries) {
    const path = join(entry.parentPath, entry.name);
    if (
      !entry.isSocket() ||
      path
        .slice(directory.length)
        .split('/')
        .some((part) => part.startsWith('.'))
    )
      continue;
    const info = await stat(path).catch(() => undefined);
    if (info !== undefined) sockets.push({ path, identity: `${info.ino} ${info.ctimeMs}` });
  }
  return sockets;
}

/** Creates the registry; nothing runs before `run`. */
export function createPluginRegistry(options: PluginRegistryOptions): PluginRegistry {
  const { directory, handlers, clock, logger, open = openRegistration } = options;
  const known = new Map<string, Known>();

  async function deregister(path: string): Promise<void> {
    const taken = known.get(path)?.taken;
    known.delete(path);
    // The same plugin may have come back behind another socket.
    const isElsewhere = [...known.values()].some(
      (other) => other.taken?.handler === taken?.handler && other.taken?.facts.name === taken?.facts.name,
    );
    if (taken === undefined || isElsewhere) return;
    logger.info({ plugin: taken.facts.name, type: taken.handler.type }, 'a plugin is gone');
    await taken.handler
      .deregister(taken.facts)
      .catch((error: unknown) => logger.warn({ err: error, plugin: taken.facts.name }, 'cannot forget a plugin'));
  }

  async function register(path: string, entry: Known, signal: AbortSignal): Promise<void> {
    const client = open(path);
    try {
      const { type, ...facts } = await client.info(signal);
      const handler = handlers.find((candidate) => candidate.type === type);
      try {
        if (handler === undefined) throw new Error(`no handler registered for plugin type: ${type} at socket ${path}`);
        await handler.register(facts, signal);
      } catch (error) {
        await client.notify((error as Error).message, signal).catch(() => undefined);
        throw error;
      }
      entry.taken = { handler, facts };
      entry.failures = 0;
      await client.notify('', signal);
      logger.info({ plugin: facts.name, type }, 'registered a plugin');
    } finally {
      client.close();
    }
  }

  async function attempt(path: string, entry: Known, signal: AbortSignal): Promise<void> {
    try {
      await register(path, entry, signal);
    } catch (error) {
      if (signal.aborted) return;
      entry.failures += 1;
      entry.retryAtMs = clock.monotonicMs() + Math.min(retryBaseMs * 2 ** (entry.failures - 1), retryMaxMs);
      logger.warn({ err: error, socket: path }, 'cannot register a plugin');
    }
  }

  async function scan(signal: AbortSignal): Promise<void> {
    const plan = planRegistrations(await findSockets(directory), known);
    const replaced = new Set(plan.added.map(({ path }) => path));
    for (const path of plan.gone) {
      // A plugin that was only started again is registered anew, without being away in between.
      if (!replaced.has(path)) await deregister(path);
    }
    for (const { path, identity } of plan.added) {
      known.set(path, { identity, taken: undefined, failures: 0, retryAtMs: Number.NEGATIVE_INFINITY });
    }
    const due = [...known].filter(
      ([, { taken, retryAtMs }]) => taken === undefined && retryAtMs <= clock.monotonicMs(),
    );
    await Promise.all(due.map(([path, entry]) => attempt(path, entry, signal)));
  }

  function nextMs(): number {
    const retries = [...known.values()]
      .filter(({ taken }) => taken === undefined)
      .map(({ retryAtMs }) => Math.max(retryAtMs - clock.monotonicMs(), 0));
    return Math.min(rescanMs, ...retries);
  }

  return {
    async run(signal) {
      await mkdir(directory, { recursive: true, mode: 0o750 });
      let told = Promise.withResolvers<void>();
      const watcher = watch(directory, { recursive: true, signal }, () => told.resolve());
      watcher.on('error', (error) => logger.warn({ err: error, directory }, 'cannot watch for plugins'));
      while (!signal.aborted) {
        told = Promise.withResolvers<void>();
        await scan(signal).catch((error: unknown) => {
          if (!signal.aborted) logger.warn({ err: error, directory }, 'cannot look for plugins');
        });
        const stop = new AbortController();
        const timed = clock.sleep(nextMs(), AbortSignal.any([signal, stop.signal])).catch(() => undefined);
        await Promise.race([timed, told.promise]);
        stop.abort();
      }
      watcher.close();
    },
  };
}
