// `berth agent`: the kubelet of a node. Decodes flags and configuration, checks the machine, connects, and runs.
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { type Logger, pino } from 'pino';
import { createClient } from '#kube/client/create-client.ts';
import { createMetrics } from '#kube/metrics/metrics.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { createServiceNotifier } from '#kube/process/service-notifier.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import { createCertificateMetrics } from './certificate/certificate-metrics.ts';
import { createCertificateStore } from './certificate/certificate-store.ts';
import { resolveClientIdentity } from './certificate/client-identity.ts';
import { createNodeCertificates } from './certificate/node-certificates.ts';
import { isUnifiedHierarchy } from './cgroup/cgroup-v2.ts';
import { loadConfiguration } from './config/load-configuration.ts';
import { type AgentSettings, resolveSettings } from './config/settings.ts';
import { awaitRuntime } from './cri/await-runtime.ts';
import { openCriChannel } from './cri/grpc-channel.ts';
import { createGrpcImageService } from './cri/grpc-image-service.ts';
import { createGrpcRuntimeService } from './cri/grpc-runtime-service.ts';
import { createPullProgress } from './cri/pull-progress.ts';
import { findKernelFaults } from './node/check-kernel.ts';
import { readMachineFacts } from './node/machine-facts.ts';
import { findNodeIps } from './node/node-address.ts';
import { createAgent } from './wiring.ts';

const levels = ['info', 'info', 'debug', 'debug', 'trace'];
const runtimeConnectMs = 10_000;

async function checkMachine(settings: AgentSettings): Promise<void> {
  if (process.getuid?.() !== 0) throw new UsageError('the agent has to run as root: use sudo');
  const isUnified = await isUnifiedHierarchy('/sys/fs/cgroup');
  if (settings.failCgroupV1 && !isUnified) {
    throw new UsageError('this machine uses cgroup v1: set failCgroupV1 to false, or boot with cgroup v2');
  }
  if (settings.singleProcessOomKill === false && !isUnified) {
    throw new UsageError(
      'invalid configuration: singleProcessOOMKill must not be explicitly set to false when using cgroup v1',
    );
  }
  const swaps = settings.failSwapOn ? await readFile('/proc/swaps', 'utf8').catch(() => '') : '';
  if (swaps.trim().split('\n').length > 1) {
    throw new UsageError('running with swap on is not supported: switch swap off, or set failSwapOn to false');
  }
  const faults = settings.protectKernelDefaults ? await findKernelFaults() : [];
  if (faults.length > 0) throw new UsageError(faults.join('; '));
}

/** The kernel should rather kill any container than the agent. */
async function protectFromOom({ oomScoreAdj }: AgentSettings, logger: Logger): Promise<void> {
  const path = '/proc/self/oom_score_adj';
  if (Number(await readFile(path, 'utf8')) === oomScoreAdj) return;
  await writeFile(path, String(oomScoreAdj)).catch((error: Error) =>
    logger.info({ oomScoreAdj, reason: error.message }, 'the kernel may kill the agent when memory is short'),
  );
}

function connectRuntime(settings: AgentSettings) {
  const channel = openCriChannel(settings.runtimeEndpoint);
  const images = settings.imageEndpoint === settings.runtimeEndpoint ? channel : openCriChannel(settings.imageEndpoint);
  const pulls = createPullProgress(settings.imageEndpoint);
  const timeoutMs = settings.runtimeRequestTimeoutMs;
  return {
    runtime: createGrpcRuntimeService(channel, timeoutMs),
    images: createGrpcImageService(images, timeoutMs),
    pullProgress: pulls.progress,
    close: () => {
      pulls.close();
      channel.close();
      images.close();
    },
  };
}

/** Runs the agent until `signal` is aborted. Throws UsageError for what the user can put right. */
export async function main(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const loaded = loadConfiguration(argv, kubernetesVersion);
  if ('print' in loaded) {
    process.stdout.write(loaded.print);
    return;
  }
  const settings = resolveSettings(loaded);
  const logger = pino(
    { level: levels[Math.min(settings.verbosity, levels.length - 1)] ?? 'info', base: { component: 'agent' } },
    pino.destination({ fd: 2, sync: false }),
  );
  for (const warning of loaded.warnings) logger.warn(warning);
  await checkMachine(settings);
  await protectFromOom(settings, logger);
  const metrics = createMetrics();
  const tools = { clock: systemClock, exec: systemExec, env: process.env };
  const nodeName = (settings.hostname ?? hostname()).toLowerCase();
  const { certDir } = settings.server;
  const identity = await resolveClientIdentity(
    { ...settings, nodeName, certDir, rotate: settings.rotateCertificates, tools, logger },
    signal,
  );
  const connect = (qps: number | undefined, burst: number | undefined) =>
    createClient({
      ...identity.config,
      name: 'kubelet',
      qps,
      burst,
      observer: metrics.clientObserver,
      clock: systemClock,
    });
  const client = connect(settings.apiQps, settings.apiBurst);
  // Events must not hold up anything, nor heartbeats be held up by anything.
  const eventClient = connect(settings.eventQps, settings.eventBurst);
  const heartbeatClient = connect(undefined, undefined);
  const { runtime, images, pullProgress, close } = connectRuntime(settings);
  try {
    const patience = {
      clock: systemClock,
      limitMs: runtimeConnectMs,
      waiting: (error: Error) => logger.warn({ err: error }, 'waiting for the container runtime'),
    };
    const version = await awaitRuntime(runtime, patience, signal).catch((error: unknown) => {
      signal.throwIfAborted();
      const fix = 'start containerd, or name its socket with --container-runtime-endpoint';
      throw new UsageError(`no container runtime at ${settings.runtimeEndpoint} (${(error as Error).message}): ${fix}`);
    });
    const nodeIps = await findNodeIps(nodeName, settings.nodeIps);
    const serving = {
      store: createCertificateStore(certDir, 'kubelet-server'),
      dnsNames: [nodeName],
      ipAddresses: nodeIps,
    };
    const certificates = createNodeCertificates({
      nodeName,
      client: heartbeatClient,
      clock: systemClock,
      logger,
      metrics: createCertificateMetrics(metrics.registry, systemClock),
      clientStore: identity.store,
      recover: identity.recover,
      serving: settings.server.tlsBootstrap ? serving : undefined,
    });
    const agent = await createAgent({
      settings,
      certificates,
      nodeName,
      nodeIps,
      facts: await readMachineFacts(settings),
      runtime,
      images,
      pullProgress,
      runtimeName: version.runtimeName,
      runtimeVersion: version.runtimeVersion,
      client,
      eventClient,
      heartbeatClient,
      notifier: createServiceNotifier({ ...tools, logger }),
      metrics,
      clock: systemClock,
      exec: systemExec,
      logger,
    });
    void agent.ready.then(() => logger.info({ node: nodeName }, 'the agent is ready'));
    await agent.run(signal);
  } finally {
    close();
    await Promise.all([client, eventClient, heartbeatClient].map((item) => item.close()));
  }
}
