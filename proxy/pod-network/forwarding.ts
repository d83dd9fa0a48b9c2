// Settings of the kernel without which packets of pods are neither forwarded nor seen by the rules for them.
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';

const bridgeFilter = 'net/bridge/bridge-nf-call-iptables';
const bridgeFilterV6 = 'net/bridge/bridge-nf-call-ip6tables';

/** Paths below /proc/sys by value. Pods of one node are bridged: the rules must see those packets, too. */
export function planForwarding(families: readonly IpFamily[]): [string, string][] {
  const settings: Record<IpFamily, [string, string][]> = {
    IPv4: [
      ['net/ipv4/ip_forward', '1'],
      [bridgeFilter, '1'],
      // Pods have addresses of IPv6 among themselves wherever the kernel has the family.
      [bridgeFilterV6, '1'],
    ],
    IPv6: [['net/ipv6/conf/all/forwarding', '1']],
  };
  return [...settings.IPv4, ...(families.includes('IPv6') ? settings.IPv6 : [])];
}

async function set(root: string, path: string, value: string): Promise<void> {
  const file = join(root, 'proc/sys', path);
  if ((await readFile(file, 'utf8')).trim() !== value) await writeFile(file, value);
}

/** A machine that forwards IPv6 takes no routes from routers by default: interfaces that live by them must go on. */
async function keepRouterAdvertisements(exec: Exec, root: string): Promise<void> {
  const text = await execOrThrow(exec, 'ip', ['-j', '-6', 'route', 'show', 'default']);
  const routes = JSON.parse(text.trim() || '[]') as { dev?: string; protocol?: string }[];
  for (const { dev, protocol } of routes) {
    if (dev !== undefined && protocol === 'ra') await set(root, `net/ipv6/conf/${dev}/accept_ra`, '2');
  }
}

/** Settings that are right already are not written. Throws when the kernel cannot filter bridged packets. */
export async function applyForwarding(exec: Exec, families: readonly IpFamily[], root: string): Promise<void> {
  if (!existsSync(join(root, 'proc/sys', bridgeFilter)))
    await exec('modprobe', ['br_netfilter']).catch(() => undefined);
  if (!existsSync(join(root, 'proc/sys', bridgeFilter))) {
    throw new Error('the kernel cannot filter bridged traffic: load the module br_netfilter');
  }
  if (families.includes('IPv6')) await keepRouterAdvertisements(exec, root);
  for (const [path, value] of planForwarding(families)) await set(root, path, value);
}
