// The control plane as a process: reads flags, listens to signals, exits with one clear line when it cannot go on.
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { describeFlags, UsageError } from '#kube/process/flags.ts';
import { controlPlaneFlags, parseControlPlaneConfig } from './config.ts';
import { createControlPlane } from './wiring.ts';

function stopSignal(outer: AbortSignal | undefined): AbortSignal {
  const controller = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => controller.abort(new Error(name)));
  return outer === undefined ? controller.signal : AbortSignal.any([controller.signal, outer]);
}

/** Runs API server, controllers and scheduler until SIGTERM, SIGINT or the signal. Throws UsageError. */
export async function runControlPlane(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const { config, warnings } = parseControlPlaneConfig(argv);
  const logger = pino({ level: config.verbosity >= 4 ? 'debug' : 'info', base: null }, pino.destination(2));
  for (const warning of warnings) logger.warn(warning);
  const controlPlane = await createControlPlane({ config, clock: systemClock, logger });
  await controlPlane.run(signal);
}

/** `berth control-plane`. Prints one line and exits non-zero for what the user can fix. */
export async function main(argv: string[], signal?: AbortSignal): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(describeFlags('control-plane', controlPlaneFlags));
    return;
  }
  try {
    await runControlPlane(argv, stopSignal(signal));
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

if (import.meta.main) await main(process.argv.slice(2));
