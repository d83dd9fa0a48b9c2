// Takes the pod network of a node away again: exactly what was made, and nothing else.
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { removeCniFile } from './cni-files.ts';
import { parseRoutes, routeProtocol, runBatch } from './kernel-routes.ts';
import { type MachineLink, readLinks } from './machine-links.ts';
import { vxlanDevice } from './plan-routes.ts';
import { removePodRules } from './pod-rules.ts';

/** Whether pods still hang on the bridge. */
export function hasPorts(links: readonly MachineLink[], bridge: string): boolean {
  return links.some(({ master }) => master === bridge);
}

export interface PodNetworkPlaces {
  cniConfDir: string;
  bridge: string;
}

/** Safe to run where there is nothing. A bridge that pods hang on stays; their network plugin removes it from them. */
export async function removePodNetwork(exec: Exec, { cniConfDir, bridge }: PodNetworkPlaces): Promise<void> {
  await removeCniFile(cniConfDir);
  for (const family of ['IPv4', 'IPv6'] as const) {
    const version = family === 'IPv4' ? '-4' : '-6';
    const routes = parseRoutes(await execOrThrow(exec, 'ip', [version, '-j', 'route', 'show', 'proto', routeProtocol]));
    const lines = routes.map(({ destination }) => `route del ${destination} proto ${routeProtocol}`);
    await runBatch(exec, family, lines);
    await removePodRules(exec, family);
  }
  const links = await readLinks(exec);
  if (links.some(({ name }) => name === vxlanDevice)) await exec('ip', ['link', 'del', vxlanDevice]);
  const hasBridge = links.some(({ name }) => name === bridge);
  if (hasBridge && !hasPorts(links, bridge)) await exec('ip', ['link', 'del', bridge, 'type', 'bridge']);
}
