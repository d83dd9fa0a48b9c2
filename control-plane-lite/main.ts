// Entry of `berth control-plane`: flags in, exit code out.
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { describeFlags } from '#kube/process/flags.ts';
import { controlPlaneFlags, parseControlPlaneConfig } from './config.ts';
import { createControlPlane } from './wiring.ts';

/** `berth control-plane`: API server, controllers and scheduler until the signal is aborted. Throws UsageError. */
export async function main(argv: readonly string[], signal: AbortSignal): Promise<void> {
  if (argv.includes('--help') || argv.includes('-h')) {
    process.stdout.write(describeFlags('control-plane', controlPlaneFlags));
    return;
  }
  const { config, warnings } = parseControlPlaneConfig(argv);
  const logger = pino({ level: config.verbosity >= 4 ? 'debug' : 'info', base: null }, pino.destination(2));
  for (const warning of warnings) logger.warn(warning);
  const controlPlane = await createControlPlane({ config, clock: systemClock, logger });
  await controlPlane.run(signal);
}
