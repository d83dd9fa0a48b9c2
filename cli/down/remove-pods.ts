// What a container runtime started and another has to end: its pods while it answers, its shims when it is gone.
import { readdirSync, readFileSync } from 'node:fs';
import type { Logger } from 'pino';
import { createGrpcRuntimeService, openCriChannel } from '../../agent/index.ts';

const podsInFlight = 8;

/** Stops and removes all pods of the runtime at this socket, which also takes down their network. */
export async function removePods(socket: string, logger: Logger): Promise<void> {
  const channel = openCriChannel(`unix://${socket}`);
  try {
    const runtime = createGrpcRuntimeService(channel, 20_000);
    try {
      await runtime.version();
    } catch (error) {
      // The sweep that follows ends what the runtime cannot.
      logger.warn({ err: error, socket }, 'the container runtime does not answer');
      return;
    }
    const queue = await runtime.listPodSandbox();
    const worker = async (): Promise<void> => {
      for (let sandbox = queue.pop(); sandbox !== undefined; sandbox = queue.pop()) {
        await runtime.stopPodSandbox(sandbox.id);
        await runtime.removePodSandbox(sandbox.id);
      }
    };
    await Promise.all(Array.from({ length: podsInFlight }, worker));
  } finally {
    channel.close();
  }
}

/** Processes of a runtime that outlived it: shims name its socket on their command line. */
export function findShims(socket: string): number[] {
  return readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .filter((pid) => {
      try {
        const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
        return (args[0] ?? '').includes('containerd-shim') && args.includes(socket);
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException;
        if (code === 'ENOENT' || code === 'ESRCH') return false;
        throw error;
      }
    })
    .map(Number);
}
