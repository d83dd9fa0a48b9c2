// `berth join`: makes this machine a node of a cluster. Nothing is trusted, and nothing written, before the cluster has
// proved itself.
import { existsSync } from 'node:fs';
import { hostname } from 'node:os';
import { pino } from 'pino';
import { parseBootstrapToken } from '#kube/bootstrap/cluster-info.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { bootstrapClient } from '../../agent/certificate/bootstrap-client.ts';
import { createCertificateStore } from '../../agent/certificate/certificate-store.ts';
import { clientWish } from '../../agent/certificate/wishes.ts';
import { parseServiceNames } from '../install/command.ts';
import { installNode } from '../install/install-node.ts';
import { type Ledger, openLedger } from '../install/ledger.ts';
import { serviceNames } from '../install/plan-install.ts';
import { createServiceControl, isSystemdRunning } from '../install/systemd.ts';
import { makeRecordedDirectory, recordFile, writeRecorded } from '../install/write-recorded.ts';
import { berthCommand } from '../package-root.ts';
import { discoverAmong, discoverByFile, discoverByToken, tokenInFile } from './discover-cluster.ts';
import { componentArguments, joinPaths, type NodeChoices, type PlannedFile, planNodeFiles } from './node-files.ts';
import { runComponents } from './run-components.ts';

const obtainMs = 120_000;

export interface JoinOptions {
  token?: string;
  discoveryTokenCaCertHash: string[];
  discoveryTokenUnsafeSkipCaVerification: boolean;
  discoveryFile?: string;
  nodeName?: string;
  criSocket: string;
  cgroupDriver: string;
  clusterDns: string;
  clusterDomain: string;
  clusterCidr?: string;
  /** The proxy makes the pod network of this node. */
  podNetwork: boolean;
  cniConfDir: string;
  /** Keeps agent and proxy running in the foreground. */
  foreground: boolean;
  /** Starts the services, where systemd runs. */
  start: boolean;
  /** Names of the services. */
  names: string;
  /** Where the files go; / but in tests. */
  root: string;
}

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

async function write({ path, content, mode, keep }: PlannedFile, ledger: Ledger): Promise<void> {
  if (keep && existsSync(path)) {
    say(`keeping ${path}`);
    return;
  }
  await writeRecorded(path, content, mode, ledger);
  say(`wrote ${path}`);
}

function serverOf(address: string): string {
  const url = /^https?:\/\//.test(address) ? address : `https://${address}`;
  if (!URL.canParse(url) || !url.startsWith('https://')) {
    throw new UsageError(`"${address}" is not the address of an API server: write https://HOST:PORT`);
  }
  return url.replace(/\/$/, '');
}

/** Joins by the first of the addresses that answers, and starts what makes the node. Throws UsageError for what the user can put right. */
export async function runJoin(addresses: readonly string[], options: JoinOptions, signal: AbortSignal): Promise<void> {
  if (process.getuid?.() !== 0) throw new UsageError('berth join needs root: run it with sudo');
  const { discoveryFile } = options;
  const tokenText = options.token ?? (discoveryFile === undefined ? undefined : tokenInFile(discoveryFile)) ?? '';
  const token = parseBootstrapToken(tokenText);
  if (token === undefined) throw new UsageError('--token is needed, of the form abcdef.0123456789abcdef');
  const names = parseServiceNames(options.names);
  const { cgroupDriver } = options;
  if (cgroupDriver !== 'cgroupfs' && cgroupDriver !== 'systemd') {
    throw new UsageError(`unknown --cgroup-driver "${cgroupDriver}": cgroupfs or systemd`);
  }
  if (options.podNetwork && options.clusterCidr === undefined) {
    throw new UsageError("--pod-network needs --cluster-cidr, the range of the cluster's pods");
  }
  if (addresses.length === 0 && discoveryFile === undefined) {
    throw new UsageError('the address of the API server is needed, or --discovery-file');
  }
  const trust = { pins: options.discoveryTokenCaCertHash, skipPins: options.discoveryTokenUnsafeSkipCaVerification };
  const cluster =
    discoveryFile === undefined
      ? await discoverAmong(addresses.map(serverOf), (server) =>
          discoverByToken(server, token, trust, systemClock, signal),
        )
      : discoverByFile(discoveryFile);
  const [server, ...others] = cluster.servers;
  say(`${server} is the cluster that was meant`);
  if (others.length > 0) say(`when it cannot be reached: ${others.join(', ')}`);

  const paths = joinPaths(options.root);
  const nodeName = (options.nodeName ?? hostname()).trim().toLowerCase();
  const choices: NodeChoices = {
    nodeName,
    cgroupDriver,
    runtimeEndpoint: options.criSocket,
    clusterDns: options.clusterDns,
    clusterDomain: options.clusterDomain,
    clusterCidr: options.clusterCidr,
    podNetworkConfDir: options.podNetwork ? options.cniConfDir : undefined,
  };
  const files = planNodeFiles(cluster, tokenText, paths, choices);
  // The units come first: the ledger then knows the machine as it was before anything was made on it.
  const underSystemd = isSystemdRunning(options.root) && !options.foreground;
  const ledger = underSystemd
    ? await installNode({ names, root: options.root, exec: systemExec, say })
    : openLedger(options.root);
  for (const file of files) await write(file, ledger);
  if (options.podNetwork) await makeRecordedDirectory(options.cniConfDir, ledger);
  await recordFile(paths.kubeconfig, ledger);

  // Here rather than in the agent, so that what is wrong is said to who joins.
  await bootstrapClient(
    {
      kubeconfig: paths.kubeconfig,
      bootstrapKubeconfig: paths.bootstrapKubeconfig,
      store: createCertificateStore(paths.certDir, 'kubelet-client'),
      wish: clientWish(nodeName),
      tools: { clock: systemClock, exec: systemExec, env: process.env },
      logger: pino({ level: 'silent' }),
    },
    AbortSignal.any([signal, AbortSignal.timeout(obtainMs)]),
  );
  process.stdout.write(`the cluster has given node ${nodeName} its certificate: ${paths.kubeconfig}\n`);

  const args = componentArguments(paths, choices);
  if (options.foreground) {
    process.stdout.write('running agent and proxy; Ctrl-C stops them, pods go on\n');
    await runComponents(berthCommand(), args, signal);
    return;
  }
  if (underSystemd) {
    const units = serviceNames[names];
    if (options.start) await createServiceControl(systemExec).restart(units);
    say(`${options.start ? 'started' : 'start the node with: systemctl start'} ${units.join(' ')}`);
    return;
  }
  process.stdout.write(
    `start the node with:\n  berth agent ${args.agent.join(' ')}\n  berth proxy ${args.proxy.join(' ')}\n`,
  );
}
