// The addresses by which others reach this node.
import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';

/** The interface of the default route in the text of /proc/net/route. */
export function defaultRouteInterface(routes: string): string | undefined {
  for (const line of routes.split('\n').slice(1)) {
    const [name, destination] = line.trim().split(/\s+/);
    if (destination === '00000000') return name;
  }
  return undefined;
}

function addressesOf(name: string): string[] {
  return (networkInterfaces()[name] ?? [])
    .filter((item) => !item.internal && item.family === 'IPv4')
    .map((item) => item.address);
}

function isOwn(address: string): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((item) => item.address === address));
}

/**
 * The configured addresses; else the one the host name has, if it is this machine's and not loopback; else the one
 * of the default route; else any. Throws when the machine has none.
 */
export async function findNodeIps(hostname: string, configured: readonly string[]): Promise<string[]> {
  const fixed = configured.filter((ip) => ip !== '0.0.0.0' && ip !== '::');
  if (fixed.length > 0) return [...fixed];
  const resolved = await lookup(hostname, { family: 4 }).catch(() => undefined);
  if (resolved !== undefined && !resolved.address.startsWith('127.') && isOwn(resolved.address))
    return [resolved.address];
  const routes = await readFile('/proc/net/route', 'utf8').catch(() => '');
  const routed = addressesOf(defaultRouteInterface(routes) ?? '');
  const any = Object.keys(networkInterfaces()).flatMap(addressesOf);
  const chosen = routed[0] ?? any[0];
  if (chosen === undefined) throw new Error('this machine has no IPv4 address but loopback: give one with --node-ip');
  return [chosen];
}
