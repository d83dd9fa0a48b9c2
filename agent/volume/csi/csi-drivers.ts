// The CSI drivers that run beside the agent, by name. They register through their sockets.
import type { Logger } from 'pino';
import type { PluginHandler } from '../../plugin-registration/plugin-handler.ts';
import { type CsiNodeClient, openCsiNode } from './csi-node-client.ts';
import type { CsiNodeObject } from './csi-node-object.ts';

export interface CsiDriversOptions {
  nodeObject: CsiNodeObject;
  logger: Logger;
  open?: (endpoint: string) => CsiNodeClient;
  /** A driver is there now: pods may wait for it. */
  registered(driver: string): void;
}

export interface CsiDrivers extends PluginHandler {
  find(name: string): CsiNodeClient | undefined;
  close(): void;
}

/** As API objects name drivers. */
const driverName = /^[a-z0-9A-Z]([-a-z0-9A-Z_.]*[a-z0-9A-Z])?$/;

/** Throws unless one of the versions is one that this agent speaks: 1.x, or 0 before that. */
export function checkVersions(name: string, versions: readonly string[]): void {
  if (versions.length === 0) throw new Error(`CSI driver ${name} names no supported version`);
  if (versions.some((version) => /^v?1(\.\d+){0,2}(-\S+)?$/.test(version))) return;
  throw new Error(`CSI driver ${name} supports ${versions.join(', ')}, none of which is 1.x`);
}

/** Creates the handler; there is no driver before one registers. */
export function createCsiDrivers(options: CsiDriversOptions): CsiDrivers {
  const { nodeObject, logger, open = openCsiNode } = options;
  const drivers = new Map<string, { client: CsiNodeClient; endpoint: string }>();

  return {
    type: 'CSIPlugin',
    async register({ name, endpoint, versions }, signal) {
      if (name.length > 63 || !driverName.test(name)) throw new Error(`"${name}" cannot be the name of a CSI driver`);
      checkVersions(name, versions);
      const client = open(endpoint);
      try {
        await nodeObject.publish(name, await client.info(signal), signal);
      } catch (error) {
        client.close();
        throw error;
      }
      drivers.get(name)?.client.close();
      drivers.set(name, { client, endpoint });
      options.registered(name);
    },
    async deregister({ name, endpoint }) {
      const driver = drivers.get(name);
      if (driver?.endpoint !== endpoint) return;
      drivers.delete(name);
      driver.client.close();
      logger.info({ driver: name }, 'a CSI driver is gone');
      await nodeObject.withdraw(name);
    },
    find: (name) => drivers.get(name)?.client,
    close() {
      for (const { client } of drivers.values()) client.close();
      drivers.clear();
    },
  };
}
