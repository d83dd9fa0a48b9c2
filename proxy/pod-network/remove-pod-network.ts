// Takes the pod network of a node away again: exactly what was made, and nothing else.
import type { Exec } from '#kube/process/exec.ts';
import { readCniDirectory, removeCniFile } from './cni-files.ts';
import { parseRoutes, routeProtocol, runBatch } from './kernel-routes.ts';
import { type MachineLink, readLinks } from './machine-links.ts';
import { bridgeOf } from './plan-cni.ts';
import { vxlanDevice } from './plan-routes.ts';
import { removePodRules } from './pod-rules.ts';

/** Whether pods still hang on the bridge. */
export function hasPorts(links: readonly MachineLink[], bridge: string): boolean {
  return links.some(({ master }) => master === bridge);
}

/**
 * Safe to run where there is nothing. The bridge is the one that our configuration in `cniConfDir` names; with pods on it
 * it stays.
 */
export async function removePodNetwork(exec: Exec, cniConfDir: string): Promise<void> {
  const { own } = await readCniDirectory(cniConfDir);
  const bridge = own === undefined ? undefined : bridgeOf(own);
  for (const family of ['IPv4', 'IPv6'] as const) {
    const version = family === 'IPv4' ? '-4' : '-6';
    const listed = await exec('ip', [version, '-j', 'route', 'show', 'proto', routeProtocol]);
    // A kernel without the family has none.
    const routes = listed.exitCode === 0 ? parseRoutes(listed.stdout) : [];
    const lines = routes.map(({ destination }) => `route del ${destination} proto ${routeProtocol}`);
    await runBatch(exec, family, lines);
    await removePodRules(exec, family);
  }
  const links = await readLinks(exec);
  if (links.some(({ name }) => name === vxlanDevice)) await exec('ip', ['link', 'del', vxlanDevice]);
  const hasBridge = bridge !== undefined && links.some(({ name }) => name === bridge);
  if (hasBridge && !hasPorts(links, bridge)) await exec('ip', ['link', 'del', bridge, 'type', 'bridge']);
  // Last: it says what there is to remove, should this end half-way.
  await removeCniFile(cniConfDir);
}
