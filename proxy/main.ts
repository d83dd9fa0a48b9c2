// Entry of `berth proxy`: flags and environment in, exit code out.
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { runGroup } from '#kube/process/component.ts';
import { systemExec } from '#kube/process/exec.ts';
import { describeFlags } from '#kube/process/flags.ts';
import { replaceFile } from '#kube/process/replace-file.ts';
import { createServiceNotifier } from '#kube/process/service-notifier.ts';
import { berthVersion, kubernetesVersion } from '#kube/process/version.ts';
import { prepareNode } from './apply/prepare-node.ts';
import { renderDefaultConfig } from './config/default-config.ts';
import { honouredFlags } from './config/flags.ts';
import { loadProxyConfig } from './config/proxy-config.ts';
import { createConfigFileWatch } from './config/watch-config-file.ts';
import { chooseMode, createModes } from './mode.ts';
import { removeNodeNetwork } from './node-network.ts';
import { createProxy } from './wiring.ts';

/** Runs the proxy until the signal is aborted. Throws UsageError for a wrong command line. */
export async function main(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const { config, action, warnings, path, writeTo } = loadProxyConfig(argv);
  const loaded = path === undefined ? '' : readFileSync(path, 'utf8');
  if (action === 'help') {
    process.stdout.write(describeFlags('proxy', honouredFlags));
    return;
  }
  if (action === 'version') {
    process.stdout.write(`berth ${berthVersion} (Kubernetes ${kubernetesVersion})\n`);
    return;
  }
  const level = config.verbosity >= 4 ? 'debug' : 'info';
  const logger = pino({ level, base: { component: 'proxy' } }, pino.destination({ dest: 2, sync: true }));
  for (const warning of warnings) logger.warn(warning);
  if (writeTo !== undefined) {
    await replaceFile(writeTo, renderDefaultConfig(), { mode: 0o644 });
    logger.info({ path: writeTo }, 'wrote the default configuration');
    return;
  }
  if (action === 'cleanup') {
    const modes = Object.values(createModes({ config, exec: systemExec, clock: systemClock, logger }));
    for (const mode of modes) for (const family of ['IPv4', 'IPv6'] as const) await mode.cleanup(family);
    await removeNodeNetwork(systemExec, config.podNetwork.cniConfDir);
    return;
  }
  if (action === 'init') {
    const modes = createModes({ config, exec: systemExec, clock: systemClock, logger });
    const chosen = await chooseMode(modes, config.mode, logger);
    await prepareNode(config, chosen, '/', logger);
    for (const family of chosen.families) await chosen.mode.prepare?.(family);
    return;
  }
  const nodeName = (config.hostnameOverride ?? hostname()).trim().toLowerCase();
  const proxy = await createProxy({ config, nodeName, clock: systemClock, exec: systemExec, env: process.env, logger });
  proxy.ready.then(() => logger.info({ node: nodeName }, 'rules are in place'));
  const notifier = createServiceNotifier({ env: process.env, exec: systemExec, clock: systemClock, logger });
  // Its health server tells of rules that are late; a sign of life means that the loop of events turns.
  const alive = { ready: proxy.ready, problem: () => undefined };
  const watch = path === undefined ? [] : [createConfigFileWatch(path, loaded, systemClock)];
  await runGroup([proxy, ...watch, { run: (stop) => notifier.run(alive, stop) }], signal);
}
