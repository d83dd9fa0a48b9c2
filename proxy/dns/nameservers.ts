// The resolvers of the machine, as resolv.conf names them.
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import type { Clock } from '#kube/process/clock.ts';
import type { BindAddress } from '../config/proxy-config.ts';
import type { ClusterNames } from './resolve-name.ts';

/** What C libraries take at most. */
const maxServers = 3;
const rereadMs = 5000;

/** The servers named in resolv.conf text. */
export function parseNameservers(resolvConf: string): string[] {
  return [...resolvConf.matchAll(/^nameserver\s+(\S+)/gm)]
    .map((match) => match[1] ?? '')
    .filter((address) => isIP(address) !== 0);
}

async function readNameservers(path: string): Promise<string[]> {
  try {
    return parseNameservers(await readFile(path, 'utf8'));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

const wildcards = ['0.0.0.0', '::'];

/**
 * Whether a resolver at this address is the server bound here, by its own address or by the cluster IP of a Service
 * that leads to it.
 */
export function asksUs(
  names: Pick<ClusterNames, 'serviceByIP' | 'slices'>,
  bind: BindAddress,
): (ip: string) => boolean {
  return (ip) => {
    const isLoopback = ip.startsWith('127.') || ip === '::1';
    if (bind.port === 53 && (ip === bind.host || (wildcards.includes(bind.host) && isLoopback))) return true;
    const service = names.serviceByIP(ip);
    if (service === undefined) return false;
    return names
      .slices(`${service.metadata.namespace}/${service.metadata.name}`)
      .some(
        ({ endpoints, ports }) =>
          ports?.some(({ port }) => port === bind.port) &&
          endpoints?.some(({ addresses }) => addresses.includes(bind.host)),
      );
  };
}

/** Reads the file again every five seconds, when somebody asks. Servers for which `isSelf` holds would ask us back. */
export function createNameservers(
  path: string,
  isSelf: (address: string) => boolean,
  clock: Clock,
): () => Promise<string[]> {
  let known: { atMs: number; servers: Promise<string[]> } | undefined;
  return async () => {
    if (known === undefined || clock.monotonicMs() - known.atMs >= rereadMs) {
      known = { atMs: clock.monotonicMs(), servers: readNameservers(path) };
    }
    return (await known.servers).filter((address) => !isSelf(address)).slice(0, maxServers);
  };
}
