// Deletes connection tracking entries with conntrack(8).
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';
import type { ConntrackDeletion, Flow } from '../plan/plan-conntrack.ts';

/** The arguments of conntrack for one deletion. */
export function conntrackArguments(deletion: ConntrackDeletion): string[] {
  const { family, originalDestination, destinationPort, endpointIP } = deletion;
  const args = ['-D', '-f', family === 'IPv6' ? 'ipv6' : 'ipv4', '-p', 'udp', '--dport', `${destinationPort}`];
  if (originalDestination !== undefined) args.push('--orig-dst', originalDestination);
  // An entry that was never translated is answered from where it was sent.
  if (endpointIP !== undefined) args.push('--dst-nat', endpointIP);
  else if (originalDestination !== undefined) args.push('--reply-src', originalDestination);
  return args;
}

async function deleteOne(exec: Exec, args: readonly string[]): Promise<void> {
  const result = await exec('conntrack', args);
  if (result.exitCode !== 0 && !result.stderr.includes('0 flow entries have been deleted')) {
    throw new ExecError('conntrack', args, result);
  }
}

/** Output of `conntrack -L`. */
export function parseFlows(text: string): Flow[] {
  return text.split('\n').flatMap((line) => {
    const [original, answer] = [...line.matchAll(/src=(\S+) dst=(\S+) sport=\d+ dport=(\d+)/g)];
    if (original === undefined || answer === undefined) return [];
    return [{ destination: original[2] ?? '', port: Number(original[3]), answeredFrom: answer[1] ?? '' }];
  });
}

function concerns({ originalDestination, destinationPort, endpointIP }: ConntrackDeletion, flow: Flow): boolean {
  if (flow.port !== destinationPort) return false;
  if (originalDestination !== undefined && flow.destination !== originalDestination) return false;
  if (endpointIP !== undefined) return flow.answeredFrom === endpointIP;
  return originalDestination === undefined || flow.answeredFrom === originalDestination;
}

/** The flows of UDP that the kernel knows. Throws ExecError. */
export async function readFlows(exec: Exec, family: IpFamily): Promise<Flow[]> {
  const args = ['-L', '-f', family === 'IPv6' ? 'ipv6' : 'ipv4', '-p', 'udp'];
  return parseFlows(await execOrThrow(exec, 'conntrack', args));
}

/** Of many deletions those that have something to delete: each costs a walk over all flows, and so does one look. */
async function selectNeeded(exec: Exec, deletions: readonly ConntrackDeletion[]): Promise<ConntrackDeletion[]> {
  const needed: ConntrackDeletion[] = [];
  for (const family of ['IPv4', 'IPv6'] as const) {
    const own = deletions.filter((deletion) => deletion.family === family);
    if (own.length <= 1) {
      needed.push(...own);
      continue;
    }
    const flows = await readFlows(exec, family);
    needed.push(...own.filter((deletion) => flows.some((flow) => concerns(deletion, flow))));
  }
  return needed;
}

/**
 * Deletes; that there was nothing to delete is no error. Several go through one process where conntrack can read
 * commands (1.4.7 and newer). Throws ExecError otherwise.
 */
export async function applyConntrack(exec: Exec, deletions: readonly ConntrackDeletion[]): Promise<void> {
  const commands = (await selectNeeded(exec, deletions)).map(conntrackArguments);
  if (commands.length > 1) {
    const input = commands.map((args) => `${args.join(' ')}\n`).join('');
    if ((await exec('conntrack', ['-R', '-'], { input })).exitCode === 0) return;
  }
  for (const args of commands) await deleteOne(exec, args);
}
