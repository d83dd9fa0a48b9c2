// The routes to other nodes' pods in the kernel. They carry a protocol number of their own; all others are somebody else's.
import type { Logger } from 'pino';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { networkOf } from '../model/cidr.ts';
import type { IpFamily } from '../model/service-port.ts';
import { familyOf } from './network-node.ts';
import type { PodRoute } from './plan-routes.ts';

/** Marks routes as made by berth. Numbers below 0x60 are taken by other programs. */
export const routeProtocol = '98';

interface RouteEntry {
  dst?: string;
  gateway?: string;
  dev?: string;
  flags?: string[];
  type?: string;
}

const versions: Record<IpFamily, string> = { IPv4: '-4', IPv6: '-6' };

function identity({ destination, via, device, onlink }: PodRoute): string {
  return `${destination} via ${via} dev ${device}${onlink ? ' onlink' : ''}`;
}

/** Decodes `ip -j route show proto 98`. */
export function parseRoutes(text: string): PodRoute[] {
  return (JSON.parse(text.trim() || '[]') as RouteEntry[]).map(({ dst = '', gateway = '', dev = '', flags = [] }) => ({
    destination: dst.includes('/') ? networkOf(dst) : dst,
    via: gateway,
    device: dev,
    onlink: flags.includes('onlink'),
  }));
}

/** Lines for `ip -batch` that turn the routes that are there into the wanted ones; none when nothing differs. */
export function planRouteChanges(wanted: readonly PodRoute[], actual: readonly PodRoute[]): string[] {
  const there = new Map(actual.map((route) => [route.destination, route]));
  const wantedTo = new Set(wanted.map(({ destination }) => destination));
  const gone = actual.filter(({ destination }) => !wantedTo.has(destination));
  const lines = gone.map(({ destination }) => `route del ${destination} proto ${routeProtocol}`);
  for (const route of wanted) {
    const old = there.get(route.destination);
    if (old !== undefined && identity(old) === identity(route)) continue;
    // `add` refuses where somebody else's route stands: it stays.
    const verb = old === undefined ? 'add' : 'replace';
    lines.push(`route ${verb} ${identity(route)} proto ${routeProtocol}`);
  }
  return lines;
}

/** Runs lines as one batch for each family; a line that is refused holds back no other. Answers what was refused. */
export async function runBatch(exec: Exec, family: IpFamily, lines: readonly string[]): Promise<string | undefined> {
  if (lines.length === 0) return undefined;
  const args = [versions[family], '-force', '-batch', '-'];
  const result = await exec('ip', args, { input: `${lines.join('\n')}\n` });
  return result.exitCode === 0 ? undefined : result.stderr.trim();
}

/**
 * Makes the kernel's routes of these families the wanted ones. Throws when the kernel refused some, after all others are
 * there.
 */
export async function applyRoutes(
  exec: Exec,
  families: readonly IpFamily[],
  wanted: readonly PodRoute[],
  logger: Logger,
): Promise<void> {
  const refused: string[] = [];
  for (const family of families) {
    const actual = parseRoutes(
      await execOrThrow(exec, 'ip', [versions[family], '-j', 'route', 'show', 'proto', routeProtocol]),
    );
    const lines = planRouteChanges(
      wanted.filter(({ destination }) => familyOf(destination) === family),
      actual,
    );
    if (lines.length > 0) logger.info({ family, changes: lines.length }, 'changing routes to pods of other nodes');
    const said = await runBatch(exec, family, lines);
    if (said !== undefined) refused.push(said);
  }
  if (refused.length > 0) throw new Error(`the kernel refuses routes to pods: ${refused.join('; ').slice(0, 2000)}`);
}
