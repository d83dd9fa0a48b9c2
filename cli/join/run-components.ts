// Agent and proxy of a joined node as children of this process, for machines without systemd: what ends is started
// again after a moment.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { systemClock } from '#kube/process/clock.ts';

const restartMs = 2000;

async function keepRunning(command: string, args: readonly string[], signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const child = spawn(command, args, { stdio: 'inherit' });
    const stop = () => child.kill('SIGTERM');
    signal.addEventListener('abort', stop, { once: true });
    await once(child, 'exit');
    signal.removeEventListener('abort', stop);
    if (!signal.aborted) await systemClock.sleep(restartMs, signal).catch(() => undefined);
  }
}

/** Runs both until the signal is aborted, and waits for their ends. */
export async function runComponents(
  command: string,
  args: { agent: readonly string[]; proxy: readonly string[] },
  signal: AbortSignal,
): Promise<void> {
  await Promise.all([
    keepRunning(command, ['agent', ...args.agent], signal),
    keepRunning(command, ['proxy', ...args.proxy], signal),
  ]);
}
