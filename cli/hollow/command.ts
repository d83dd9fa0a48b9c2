// `berth hollow`: nodes without machines, to see how a cluster behaves at a size.
import { pino } from 'pino';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { kubeconfigPath } from '../explain/connect.ts';
import { limitCalls } from './limit-calls.ts';
import { type HollowCommandOptions, parseFleetOptions } from './options.ts';
import { checkNames, removeFleet, runFleet } from './run-fleet.ts';

const removalLimitMs = 60_000;
/** A busy server gives each connection a turn: heartbeats have enough of them. */
const nodesPerClient = 2500;
const connectionsPerClient = 16;

/** Runs until the signal is aborted, then removes the nodes unless they are to be kept. */
export async function runHollow(options: HollowCommandOptions, signal: AbortSignal): Promise<void> {
  const fleet = parseFleetOptions(options);
  const tools = { clock: systemClock, exec: systemExec, env: process.env };
  const config = loadClientConfig(tools, kubeconfigPath(options), options.context);
  const client = createClient({ ...config, name: 'hollow', clock: systemClock, sharesStreams: true });
  const clients = Math.ceil(fleet.count / nodesPerClient);
  const heartbeats = Array.from({ length: clients }, () =>
    limitCalls(createClient({ ...config, name: 'hollow', clock: systemClock }), connectionsPerClient),
  );
  const logger = pino(
    { level: process.env['BERTH_DEBUG'] === undefined ? 'error' : 'debug', base: null },
    pino.destination(2),
  );
  const startedMs = systemClock.monotonicMs();
  const say = (text: string) => process.stdout.write(`${text}\n`);
  const registered = (count: number) => {
    if (count !== fleet.count) return;
    const seconds = ((systemClock.monotonicMs() - startedMs) / 1000).toFixed(1);
    say(`${count} hollow nodes are registered after ${seconds} s; Ctrl-C ${options.keep ? 'ends' : 'removes'} them`);
  };
  try {
    await checkNames(client, fleet);
    await runFleet({ client, heartbeats, clock: systemClock, logger }, fleet, { registered }, signal);
    if (options.keep) return;
    await removeFleet(client, fleet, AbortSignal.timeout(removalLimitMs));
    say(`${fleet.count} hollow nodes are removed`);
  } finally {
    await Promise.all([client, ...heartbeats].map((each) => each.close()));
  }
}
