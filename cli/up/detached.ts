// The process that keeps a cluster up in the background. It reports to its parent until the cluster is ready.
import type { UpOptions } from './options.ts';
import { type DetachedMessage, forwardReport } from './progress-message.ts';
import { supervise } from './supervise.ts';

/** Runs with the options in the first argument. */
export async function main([text = '{}']: readonly string[], signal: AbortSignal): Promise<void> {
  const options = JSON.parse(text) as UpOptions;
  const send = (message: DetachedMessage): void => {
    if (process.connected) process.send?.(message);
  };
  try {
    const ready = (): void => {
      send({ type: 'ready' });
      if (process.connected) process.disconnect();
    };
    await supervise(options, forwardReport(send), ready, signal);
  } catch (error) {
    send({ type: 'failed', message: error instanceof Error ? error.message : String(error) });
    if (process.connected) process.disconnect();
    throw error;
  }
}
