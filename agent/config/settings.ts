// The configuration as the rest of the agent uses it: typed, checked, in plain units.
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { Taint } from '#kube/api/generated/core-v1.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { UsageError } from '#kube/process/flags.ts';
import { durationMs, type LoadedConfiguration } from './load-configuration.ts';
import { type NodeResourceSettings, resolveNodeResources } from './resource-settings.ts';
import { resolveShutdown, type ShutdownSettings } from './shutdown-settings.ts';
import { resolveTls, type TlsSettings } from './tls-settings.ts';
import { validateConfiguration } from './validate-configuration.ts';
import { validateNode } from './validate-node.ts';

/** Settings of the HTTPS server. */
export interface ServerSettings {
  enabled: boolean;
  address: string;
  port: number;
  readOnlyPort: number;
  healthzAddress: string;
  healthzPort: number;
  certFile: string | undefined;
  keyFile: string | undefined;
  certDir: string;
  /** The serving certificate is asked for at the API server. */
  tlsBootstrap: boolean;
  tlsMinVersion: TlsSettings['tlsMinVersion'];
  /** As OpenSSL names them; undefined: the runtime's choice. */
  ciphers: string | undefined;
  curves: string | undefined;
  clientCaFile: string | undefined;
  anonymous: boolean;
  webhookAuthentication: boolean;
  authenticationCacheMs: number;
  authorization: 'AlwaysAllow' | 'Webhook';
  allowedCacheMs: number;
  deniedCacheMs: number;
  debuggingHandlers: boolean;
  systemLogHandler: boolean;
  systemLogQuery: boolean;
  streamIdleTimeoutMs: number;
}

/** Everything the agent is told from outside. */
export interface AgentSettings extends NodeResourceSettings {
  /** For /configz. */
  configuration: Record<string, unknown>;
  /** For /flagz: as given, secrets left out. */
  flags: Record<string, string>;
  kubeconfig: string | undefined;
  /** With which the first client certificate is asked for. */
  bootstrapKubeconfig: string | undefined;
  /** Client certificates are renewed before they run out. */
  rotateCertificates: boolean;
  shutdown: ShutdownSettings;
  hostname: string | undefined;
  /** `external`: a controller outside fills in addresses and the provider's id. */
  cloudProvider: string | undefined;
  failSwapOn: boolean;
  nodeIps: string[];
  nodeLabels: Record<string, string>;
  taints: Taint[];
  providerId: string | undefined;
  registerNode: boolean;
  rootDir: string;
  podLogsDir: string;
  staticPodPath: string | undefined;
  fileCheckMs: number;
  staticPodUrl: string | undefined;
  staticPodUrlHeader: Record<string, string[]>;
  httpCheckMs: number;
  runtimeEndpoint: string;
  imageEndpoint: string;
  runtimeRequestTimeoutMs: number;
  cgroupRoot: string;
  cgroupDriver: 'cgroupfs' | 'systemd';
  cgroupsPerQos: boolean;
  failCgroupV1: boolean;
  enforceAllocatable: boolean;
  clusterDns: string[];
  clusterDomain: string;
  resolvConf: string;
  maxPods: number;
  /** Of pods with a user namespace of their own. */
  idsPerPod: number | undefined;
  /** Count ephemeral storage as a resource. */
  localStorage: boolean;
  podPidsLimit: number;
  /** Names, or beginnings of names that end with a star. */
  allowedSysctls: string[];
  cpuCfsQuota: boolean;
  cpuCfsQuotaPeriodMs: number;
  seccompDefault: boolean;
  syncFrequencyMs: number;
  /** Volumes of a pod are measured at most once in this time. */
  volumeStatsMs: number;
  nodeStatusUpdateMs: number;
  nodeStatusReportMs: number;
  leaseDurationSeconds: number;
  maxImages: number;
  parallelPulls: number;
  /** Pulls a second, on average and at once. */
  pullQps: number;
  pullBurst: number;
  /** imagePullCredentialsVerificationPolicy and its list. */
  pullVerification: string;
  pullVerificationAllowlist: string[];
  /** Where plugins that know registry credentials are configured, and their folder. */
  credentialProviders: { config: string; binDir: string } | undefined;
  /** The first wait before a failed container is started again, and the longest. */
  crashLoopInitialMs: number;
  crashLoopMaxMs: number;
  reserved: Record<string, string>[];
  evictionHard: Record<string, string>;
  logMaxBytes: number;
  logMaxFiles: number;
  logMonitorMs: number;
  logWorkers: number;
  /** Requests a second; undefined: the server's own fairness is limit enough. */
  apiQps: number | undefined;
  apiBurst: number | undefined;
  eventQps: number;
  eventBurst: number;
  machineIdFiles: string[];
  bootIdFile: string;
  oomScoreAdj: number;
  /** With version 2 cgroups: whether a container outlives the end of one process for want of memory. */
  singleProcessOomKill: boolean | undefined;
  /** Whether the kernel's settings must be as kubelet wants them. */
  protectKernelDefaults: boolean;
  verbosity: number;
  server: ServerSettings;
}

type Fields = Record<string, unknown>;

const defaultCrashLoopMs = 300_000;
const reducedCrashLoopMs = 60_000;

function record(value: unknown): Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Fields) : {};
}

function texts(value: unknown): Record<string, string> {
  return Object.fromEntries(Object.entries(record(value)).map(([key, item]) => [key, String(item)]));
}

function list(value: unknown): string[] {
  return Array.isArray(value) ? value.map(String) : [];
}

function oneOf<T extends string>(name: string, value: unknown, allowed: readonly T[]): T {
  const found = allowed.find((item) => item === value);
  if (found === undefined) throw new UsageError(`${name} takes ${allowed.join(' or ')}, not ${JSON.stringify(value)}`);
  return found;
}

function resolveServer(c: Fields, certDir: string): ServerSettings {
  const authentication = record(c['authentication']);
  const webhook = record(authentication['webhook']);
  const authorization = record(c['authorization']);
  const cache = record(authorization['webhook']);
  const text = (value: unknown) => (typeof value === 'string' && value !== '' ? value : undefined);
  return {
    enabled: c['enableServer'] === true,
    address: String(c['address']),
    port: Number(c['port']),
    readOnlyPort: Number(c['readOnlyPort'] ?? 0),
    healthzAddress: String(c['healthzBindAddress']),
    healthzPort: Number(c['healthzPort']),
    certFile: text(c['tlsCertFile']),
    keyFile: text(c['tlsPrivateKeyFile']),
    certDir,
    tlsBootstrap: c['serverTLSBootstrap'] === true,
    ...resolveTls(c),
    clientCaFile: text(record(authentication['x509'])['clientCAFile']),
    anonymous: record(authentication['anonymous'])['enabled'] === true,
    webhookAuthentication: webhook['enabled'] === true,
    authenticationCacheMs: durationMs(webhook['cacheTTL']),
    authorization: oneOf('authorization.mode', authorization['mode'], ['AlwaysAllow', 'Webhook']),
    allowedCacheMs: durationMs(cache['cacheAuthorizedTTL']),
    deniedCacheMs: durationMs(cache['cacheUnauthorizedTTL']),
    debuggingHandlers: c['enableDebuggingHandlers'] === true,
    systemLogHandler: c['enableSystemLogHandler'] === true,
    systemLogQuery: c['enableSystemLogQuery'] === true,
    streamIdleTimeoutMs: durationMs(c['streamingConnectionIdleTimeout']),
  };
}

/** Pulls at once. */
function parallelPulls(c: Fields): number {
  if (c['serializeImagePulls'] !== false) return 1;
  const most = c['maxParallelImagePulls'];
  return typeof most === 'number' ? most : Number.POSITIVE_INFINITY;
}

function credentialProviders(flag: (name: string) => string | undefined): AgentSettings['credentialProviders'] {
  const config = flag('image-credential-provider-config');
  const binDir = flag('image-credential-provider-bin-dir');
  if (config === undefined && binDir === undefined) return undefined;
  if (config === undefined || binDir === undefined) {
    throw new UsageError('--image-credential-provider-config and --image-credential-provider-bin-dir go together');
  }
  return { config, binDir };
}

/** With the feature ReduceDefaultCrashLoopBackOffDecay waits begin with a second and end with a minute (KEP-4603). */
function resolveCrashLoop(c: Fields, longest: unknown): Pick<AgentSettings, 'crashLoopInitialMs' | 'crashLoopMaxMs'> {
  const configuredMs = durationMs(longest);
  const isReduced = String(record(c['featureGates'])['ReduceDefaultCrashLoopBackOffDecay']) === 'true';
  const crashLoopMaxMs = isReduced && configuredMs === defaultCrashLoopMs ? reducedCrashLoopMs : configuredMs;
  return { crashLoopInitialMs: Math.min(isReduced ? 1000 : 10_000, crashLoopMaxMs), crashLoopMaxMs };
}

function shownFlags(flags: LoadedConfiguration['flags']): Record<string, string> {
  return Object.fromEntries(
    Object.entries(flags).map(([name, value]) => {
      const text = typeof value === 'object' ? JSON.stringify(value) : String(value);
      return [name, /password|url-header/.test(name) ? '[hidden]' : text];
    }),
  );
}

function idsPerPod(c: Fields): number | undefined {
  const count = record(c['userNamespaces'])['idsPerPod'];
  return typeof count === 'number' ? count : undefined;
}

/** Pods of the node: maxPods, or fewer where podsPerCore says so. */
function podLimit(c: Fields, cores: number): number {
  const most = Number(c['maxPods']);
  const perCore = Number(c['podsPerCore'] ?? 0);
  return perCore > 0 ? Math.min(most, perCore * cores) : most;
}

/** System's and kubelet's reservations; processors set apart by number take the place of both. */
function reservations(c: Fields): Record<string, string>[] {
  const [system, kube] = [texts(c['systemReserved']), texts(c['kubeReserved'])];
  const set = String(c['reservedSystemCPUs'] ?? '');
  if (set === '') return [system, kube];
  const numbers = set.split(',').flatMap((part) => {
    const [first = 0, last = first] = part.split('-').map(Number);
    return Array.from({ length: Math.max(last - first + 1, 0) }, (_, index) => first + index);
  });
  const { cpu: _, ...rest } = kube;
  return [{ ...system, cpu: `${new Set(numbers).size}` }, rest];
}

/** Checks and converts. Throws UsageError with one line about the first mistake. */
export function resolveSettings({ configuration: c, flags, given }: LoadedConfiguration): AgentSettings {
  const flag = (name: string) => (typeof flags[name] === 'string' && flags[name] !== '' ? flags[name] : undefined);
  const rootDir = flag('root-dir') ?? '/var/lib/kubelet';
  const endpoint = String(c['containerRuntimeEndpoint']);
  const mistakes = [...validateConfiguration(c), ...validateNode(c, texts(flags['node-labels']))];
  if (mistakes.length > 0) throw new UsageError(mistakes.length === 1 ? mistakes.join() : `[${mistakes.join(', ')}]`);
  const staticPodPath = c['staticPodPath'];
  const crashLoop = record(c['crashLoopBackOff'])['maxContainerRestartPeriod'];
  return {
    configuration: { kind: 'KubeletConfiguration', apiVersion: 'kubelet.config.k8s.io/v1beta1', ...c },
    flags: shownFlags(flags),
    kubeconfig: flag('kubeconfig'),
    bootstrapKubeconfig: flag('bootstrap-kubeconfig'),
    rotateCertificates: c['rotateCertificates'] === true,
    shutdown: resolveShutdown(c),
    hostname: flag('hostname-override'),
    cloudProvider: flag('cloud-provider'),
    failSwapOn: c['failSwapOn'] === true,
    nodeIps: (flag('node-ip') ?? '').split(',').filter((ip) => ip !== ''),
    nodeLabels: texts(flags['node-labels']),
    taints: Array.isArray(c['registerWithTaints']) ? (c['registerWithTaints'] as Taint[]) : [],
    providerId: flag('provider-id') ?? (typeof c['providerID'] === 'string' ? c['providerID'] : undefined),
    registerNode: c['registerNode'] === true,
    rootDir,
    podLogsDir: String(c['podLogsDir']),
    staticPodPath: typeof staticPodPath === 'string' && staticPodPath !== '' ? staticPodPath : undefined,
    fileCheckMs: durationMs(c['fileCheckFrequency']),
    staticPodUrl: typeof c['staticPodURL'] === 'string' && c['staticPodURL'] !== '' ? c['staticPodURL'] : undefined,
    staticPodUrlHeader: Object.fromEntries(
      Object.entries(record(c['staticPodURLHeader'])).map(([name, values]) => [name, list(values)]),
    ),
    httpCheckMs: durationMs(c['httpCheckFrequency']),
    runtimeEndpoint: endpoint,
    imageEndpoint: typeof c['imageServiceEndpoint'] === 'string' ? c['imageServiceEndpoint'] : endpoint,
    runtimeRequestTimeoutMs: durationMs(c['runtimeRequestTimeout']),
    cgroupRoot: String(c['cgroupRoot']),
    cgroupDriver: oneOf('cgroupDriver', c['cgroupDriver'], ['cgroupfs', 'systemd']),
    cgroupsPerQos: c['cgroupsPerQOS'] === true,
    failCgroupV1: c['failCgroupV1'] === true,
    enforceAllocatable: list(c['enforceNodeAllocatable']).includes('pods'),
    clusterDns: list(c['clusterDNS']),
    clusterDomain: String(c['clusterDomain'] ?? ''),
    resolvConf: String(c['resolvConf']),
    maxPods: podLimit(c, availableParallelism()),
    idsPerPod: idsPerPod(c),
    localStorage: c['localStorageCapacityIsolation'] !== false,
    podPidsLimit: Number(c['podPidsLimit']),
    allowedSysctls: list(c['allowedUnsafeSysctls']),
    cpuCfsQuota: c['cpuCFSQuota'] === true,
    cpuCfsQuotaPeriodMs: durationMs(c['cpuCFSQuotaPeriod']),
    seccompDefault: c['seccompDefault'] === true,
    syncFrequencyMs: durationMs(c['syncFrequency']),
    volumeStatsMs: durationMs(c['volumeStatsAggPeriod']),
    nodeStatusUpdateMs: durationMs(c['nodeStatusUpdateFrequency']),
    nodeStatusReportMs: durationMs(c['nodeStatusReportFrequency']),
    leaseDurationSeconds: Number(c['nodeLeaseDurationSeconds']),
    maxImages: Number(c['nodeStatusMaxImages']),
    pullQps: Number(c['registryPullQPS'] ?? 0),
    pullBurst: Number(c['registryBurst'] ?? 0),
    pullVerification: String(c['imagePullCredentialsVerificationPolicy'] ?? ''),
    pullVerificationAllowlist: list(c['preloadedImagesVerificationAllowlist']),
    credentialProviders: credentialProviders(flag),
    parallelPulls: parallelPulls(c),
    ...resolveCrashLoop(c, crashLoop),
    ...resolveNodeResources(c, flags, list(c['enforceNodeAllocatable'])),
    reserved: reservations(c),
    evictionHard: texts(c['evictionHard']),
    logMaxBytes: quantityValue(String(c['containerLogMaxSize'])),
    logMaxFiles: Number(c['containerLogMaxFiles']),
    logMonitorMs: durationMs(c['containerLogMonitorInterval']),
    logWorkers: Number(c['containerLogMaxWorkers']),
    apiQps: given.has('kubeAPIQPS') ? Number(c['kubeAPIQPS']) : undefined,
    apiBurst: given.has('kubeAPIQPS') ? Number(c['kubeAPIBurst']) : undefined,
    eventQps: Number(c['eventRecordQPS']),
    eventBurst: Number(c['eventBurst']),
    machineIdFiles: (flag('machine-id-file') ?? '/etc/machine-id,/var/lib/dbus/machine-id').split(','),
    bootIdFile: flag('boot-id-file') ?? '/proc/sys/kernel/random/boot_id',
    oomScoreAdj: Number(c['oomScoreAdj']),
    singleProcessOomKill: typeof c['singleProcessOOMKill'] === 'boolean' ? c['singleProcessOOMKill'] : undefined,
    protectKernelDefaults: c['protectKernelDefaults'] === true,
    verbosity: Number(flags['v'] ?? record(c['logging'])['verbosity'] ?? 0),
    server: resolveServer(c, flag('cert-dir') ?? join(rootDir, 'pki')),
  };
}
