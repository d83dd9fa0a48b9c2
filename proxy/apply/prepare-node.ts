// Settings of the kernel that a proxy needs, and that take more rights than its rules do.
import { readFile, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { ProxyConfig } from '../config/proxy-config.ts';
import type { ChosenMode } from '../mode.ts';
import { planConntrackSysctls } from '../plan/plan-conntrack-sysctls.ts';
import { applyConntrackSysctls } from './conntrack-sysctls.ts';

/** Node ports on loopback need the kernel to route loopback addresses. */
async function allowLocalhostNodePorts(root: string): Promise<void> {
  const path = join(root, 'proc/sys/net/ipv4/conf/all/route_localnet');
  if ((await readFile(path, 'utf8')).trim() === '1') return;
  try {
    await writeFile(path, '1');
  } catch (cause) {
    throw new Error(
      'cannot let node ports be reached on loopback (net.ipv4.conf.all.route_localnet): run once with --init-only and more rights, or set --iptables-localhost-nodeports=false',
      { cause },
    );
  }
}

/** Settings that are right already are not written. `root` is where /proc and /sys are. */
export async function prepareNode(
  config: ProxyConfig,
  { mode, families }: ChosenMode,
  root: string,
  logger: Logger,
): Promise<void> {
  if (families.includes('IPv4') && mode.name === 'iptables' && config.localhostNodePorts) {
    await allowLocalhostNodePorts(root);
  }
  await applyConntrackSysctls(planConntrackSysctls(config.conntrack, availableParallelism()), root, logger);
}
