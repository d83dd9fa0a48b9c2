// Deletes connection tracking entries with conntrack(8).
import type { Exec } from '#kube/process/exec.ts';
import { ExecError } from '#kube/process/exec.ts';
import type { ConntrackDeletion } from '../plan/plan-conntrack.ts';

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

/**
 * Deletes; that there was nothing to delete is no error. Several go through one process where conntrack can read
 * commands (1.4.7 and newer). Throws ExecError otherwise.
 */
export async function applyConntrack(exec: Exec, deletions: readonly ConntrackDeletion[]): Promise<void> {
  const commands = deletions.map(conntrackArguments);
  if (commands.length > 1) {
    const input = commands.map((args) => `${args.join(' ')}\n`).join('');
    if ((await exec('conntrack', ['-R', '-'], { input })).exitCode === 0) return;
  }
  for (const args of commands) await deleteOne(exec, args);
}
