// The addresses by which others reach this node.
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { UsageError } from '#kube/process/flags.ts';

/** The interface of the default route in the text of /proc/net/route. */
export function defaultRouteInterface(routes: string): string | undefined {
  for (const line of routes.split('\n').slice(1)) {
    const [name, destination] = line.trim().split(/\s+/);
    if (destination === '00000000') return name;
  }
  return undefined;
}

type Family = 4 | 6;

function addressesOf(name: string, family: Family): string[] {
  return (networkInterfaces()[name] ?? [])
    .filter((item) => !item.internal && item.family === `IPv${family}` && !item.address.startsWith('fe80:'))
    .map((item) => item.address);
}

function isOwn(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((item) => item.address === address));
}

async function findOfFamily(hostname: string, family: Family): Promise<string | undefined> {
  const resolved = await lookup(hostname, { family }).catch(() => undefined);
  const isLoopback = resolved?.address.startsWith('127.') === true || resolved?.address === '::1';
  if (resolved !== undefined && !isLoopback && isOwn(resolved.address)) return resolved.address;
  const routes = family === 4 ? await readFile('/proc/net/route', 'utf8').catch(() => '') : '';
  const [routed] = addressesOf(defaultRouteInterface(routes) ?? '', family);
  return routed ?? Object.keys(networkInterfaces()).flatMap((name) => addressesOf(name, family))[0];
}

/**
 * The configured addresses; else the one the host name has, if it is this machine's and not loopback; else the one
 * of the default route; else any. IPv4 comes first, or IPv6 where `::` is configured. Throws when there is none, or
 * when the configured ones are not one of each family at most.
 */
export async function findNodeIps(hostname: string, configured: readonly string[]): Promise<string[]> {
  for (const ip of configured) if (isIP(ip) === 0) throw new UsageError(`--node-ip takes addresses, not "${ip}"`);
  const families = new Set(configured.map(isIP));
  if (configured.length > 2 || families.size !== configured.length) {
    throw new UsageError(`--node-ip takes one address, or one of each family, not "${configured.join(',')}"`);
  }
  const fixed = configured.filter((ip) => ip !== '0.0.0.0' && ip !== '::');
  if (fixed.length > 0) return [...fixed];
  const order: Family[] = configured[0] === '::' ? [6, 4] : [4, 6];
  for (const family of order) {
    const found = await findOfFamily(hostname, family);
    if (found !== undefined) return [found];
  }
  throw new UsageError('this machine has no address but loopback: give one with --node-ip');
}
