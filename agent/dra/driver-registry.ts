// Drivers of dynamic resources that are registered: connections, what they tell of their devices' health, and the
// removal of ResourceSlices of those that stay away (pkg/kubelet/cm/dra/plugin).
import type { Logger } from 'pino';
import type { Clock, Timer } from '#kube/process/clock.ts';
import { isCriUnimplemented } from '../cri/cri-error.ts';
import type { PluginHandler } from '../plugin-registration/plugin-handler.ts';
import type { DeviceHealthCache, HealthReport } from './device-health.ts';
import { type DraClient, openDraClient } from './dra-client.ts';

const version = 'v1.DRAPlugin';
/** A driver that is away for longer has no devices for pods to come. */
const absenceMs = 30_000;
const streamRetryMs = 5000;
const expiryCheckMs = 5000;

export interface DriverRegistryOptions {
  clock: Clock;
  logger: Logger;
  health: DeviceHealthCache;
  /** Told when there is another driver: pods may wait for it. */
  registered(driver: string): void;
  /** Told of devices whose health is another one; undefined: of all of the driver. */
  healthChanged(driver: string, reports: readonly HealthReport[] | undefined): void;
  /** Removes the ResourceSlices of the driver, or of all. */
  removeSlices(driver: string | undefined, signal: AbortSignal): Promise<void>;
  open?(socketPath: string): DraClient;
}

export interface DriverRegistry {
  /** Throws where there is none of that name. */
  clientOf(driver: string): DraClient;
  readonly handler: PluginHandler;
  /** Removes what earlier drivers said, and follows those that come until the signal is aborted. */
  run(signal: AbortSignal): Promise<void>;
  close(): void;
}

interface Driver {
  endpoint: string;
  client: DraClient;
  stop: AbortController;
}

/** Creates the registry. */
export function createDriverRegistry(options: DriverRegistryOptions): DriverRegistry {
  const { clock, logger, health, open = openDraClient } = options;
  const drivers = new Map<string, Driver>();
  const absences = new Map<string, { timer: Timer; stop: AbortController }>();
  const stopped = new AbortController();

  function present(name: string): void {
    const absence = absences.get(name);
    absence?.timer.cancel();
    absence?.stop.abort(new Error('the driver is back'));
    absences.delete(name);
  }

  function absent(name: string): void {
    if (absences.has(name) || stopped.signal.aborted) return;
    const stop = new AbortController();
    const timer = clock.after(absenceMs, () => {
      logger.info({ driver: name }, 'a driver of dynamic resources did not come back: its ResourceSlices go');
      void options.removeSlices(name, AbortSignal.any([stop.signal, stopped.signal]));
    });
    absences.set(name, { timer, stop });
  }

  async function followHealth(name: string, { client }: Driver, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        for await (const reports of client.watchHealth(signal)) {
          const changed = health.update(name, reports);
          if (changed.length > 0) options.healthChanged(name, changed);
        }
      } catch (error) {
        // Most drivers tell nothing of their devices.
        if (isCriUnimplemented(error)) return;
        if (!signal.aborted) logger.debug({ err: error, driver: name }, 'the health of devices is not told');
      }
      if (health.clear(name)) options.healthChanged(name, undefined);
      await clock.sleep(streamRetryMs, signal).catch(() => undefined);
    }
  }

  async function followConnection(name: string, { client }: Driver, signal: AbortSignal): Promise<void> {
    try {
      for await (const connected of client.watchConnection(signal)) {
        if (signal.aborted) return;
        if (connected) present(name);
        else absent(name);
      }
    } catch (error) {
      if (!signal.aborted) logger.warn({ err: error, driver: name }, 'cannot follow a driver of dynamic resources');
    }
  }

  function drop(name: string, driver: Driver): void {
    driver.stop.abort(new Error('the driver is gone'));
    driver.client.close();
    drivers.delete(name);
    if (health.clear(name)) options.healthChanged(name, undefined);
  }

  return {
    clientOf(name) {
      const driver = drivers.get(name);
      if (driver === undefined) throw new Error(`DRA driver ${name} is not registered`);
      return driver.client;
    },
    handler: {
      type: 'DRAPlugin',
      async register({ name, endpoint, versions }) {
        if (!versions.includes(version)) {
          throw new Error(
            `none of the versions of DRA driver ${name} is supported: ${versions.join(', ')}; this is ${version}`,
          );
        }
        const before = drivers.get(name);
        if (before !== undefined) drop(name, before);
        const driver = { endpoint, client: open(endpoint), stop: new AbortController() };
        drivers.set(name, driver);
        present(name);
        const signal = AbortSignal.any([driver.stop.signal, stopped.signal]);
        void followHealth(name, driver, signal);
        void followConnection(name, driver, signal);
        logger.info({ driver: name }, 'registered a driver of dynamic resources');
        options.registered(name);
      },
      async deregister({ name, endpoint }) {
        const driver = drivers.get(name);
        if (driver === undefined || driver.endpoint !== endpoint) return;
        drop(name, driver);
        absent(name);
      },
    },
    async run(signal) {
      const ended = AbortSignal.any([signal, stopped.signal]);
      // Nobody can use devices of drivers that have not come back yet; they tell of them anew.
      const removed = options.removeSlices(undefined, ended);
      while (!ended.aborted) {
        for (const name of health.expired()) options.healthChanged(name, undefined);
        await clock.sleep(expiryCheckMs, ended).catch(() => undefined);
      }
      await removed;
    },
    close() {
      stopped.abort(new Error('the agent ends'));
      for (const { timer } of absences.values()) timer.cancel();
      for (const { client } of drivers.values()) client.close();
    },
  };
}
