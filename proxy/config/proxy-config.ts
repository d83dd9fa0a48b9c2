// The proxy's configuration: KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) or flags.
import { type ConfigShape, loadConfigFile } from '#kube/process/config-file.ts';
import { type FlagValue, parseDurationMs, parseFlags, UsageError } from '#kube/process/flags.ts';
import type { DetectLocal } from '../model/detect-local.ts';
import type { ConntrackSettings } from '../plan/plan-conntrack-sysctls.ts';
import { acceptedFlags, fileDecides, honouredFlags } from './flags.ts';
import { decodePodNetwork, type PodNetworkConfig, requireClusterRanges } from './pod-network-config.ts';
import { splitHostPort, validateConfig } from './validate-config.ts';

/** Address and port of a server; port 0 switches it off. */
export interface BindAddress {
  host: string;
  port: number;
}

/** The order in which modes are tried where none is asked for. */
export const modeNames = ['iptables', 'nftables', 'ipvs'] as const;
export type ModeName = (typeof modeNames)[number];

/** What may be set for each mode on its own. */
export interface ModeSettings {
  masqueradeAll: boolean;
  masqueradeBit: number;
  minSyncPeriodMs: number;
  syncPeriodMs: number;
  nodePortAddresses: string[];
}

/** What only mode ipvs has. Timeouts are in seconds; 0 leaves what the kernel has. */
export interface IpvsSettings {
  scheduler: string;
  /** The node answers for an address on the interface alone that has it, not for those of services. */
  strictArp: boolean;
  /** Virtual servers at these addresses are somebody else's. */
  excludeCIDRs: string[];
  timeouts: { tcp: number; tcpFin: number; udp: number };
}

export interface ProxyConfig {
  kubeconfig: string | undefined;
  master: string | undefined;
  hostnameOverride: string | undefined;
  /** Undefined: the first that works on this machine. */
  mode: ModeName | undefined;
  modes: Record<ModeName, ModeSettings>;
  ipvs: IpvsSettings;
  detectLocalMode: DetectLocal['mode'];
  clusterCIDRs: string[];
  bridgeInterface: string;
  interfaceNamePrefix: string;
  localhostNodePorts: boolean;
  conntrack: ConntrackSettings;
  healthzBindAddress: BindAddress;
  metricsBindAddress: BindAddress;
  /** Where cluster DNS is answered; undefined where it is not. An addition of berth. */
  dnsBindAddress: BindAddress | undefined;
  dnsDomain: string;
  podNetwork: PodNetworkConfig;
  /** Whether this proxy makes the pod network, and enforces policies. Additions of berth. */
  makesPodNetwork: boolean;
  enforcesPolicies: boolean;
  verbosity: number;
}

const shape: { [field: string]: ConfigShape } = {
  bindAddress: 'string',
  bindAddressHardFail: 'boolean',
  clientConnection: {
    acceptContentTypes: 'string',
    burst: 'number',
    contentType: 'string',
    kubeconfig: 'string',
    qps: 'number',
  },
  clusterCIDR: 'string',
  configSyncPeriod: 'duration',
  conntrack: {
    maxPerCore: 'number',
    min: 'number',
    tcpBeLiberal: 'boolean',
    tcpCloseWaitTimeout: 'duration',
    tcpEstablishedTimeout: 'duration',
    udpStreamTimeout: 'duration',
    udpTimeout: 'duration',
  },
  detectLocal: { bridgeInterface: 'string', interfaceNamePrefix: 'string' },
  detectLocalMode: 'string',
  enableProfiling: 'boolean',
  featureGates: 'any',
  healthzBindAddress: 'string',
  hostnameOverride: 'string',
  iptables: {
    localhostNodePorts: 'boolean',
    masqueradeAll: 'boolean',
    masqueradeBit: 'number',
    minSyncPeriod: 'duration',
    syncPeriod: 'duration',
  },
  ipvs: {
    excludeCIDRs: 'stringList',
    minSyncPeriod: 'duration',
    scheduler: 'string',
    strictARP: 'boolean',
    syncPeriod: 'duration',
    tcpFinTimeout: 'duration',
    tcpTimeout: 'duration',
    udpTimeout: 'duration',
  },
  logging: 'any',
  metricsBindAddress: 'string',
  mode: 'string',
  nftables: { masqueradeAll: 'boolean', masqueradeBit: 'number', minSyncPeriod: 'duration', syncPeriod: 'duration' },
  nodePortAddresses: 'stringList',
  oomScoreAdj: 'number',
  portRange: 'string',
  showHiddenMetricsForVersion: 'string',
  windowsRunAsService: 'boolean',
  winkernel: 'any',
};

/** Those of the kernel. */
const schedulers = ['rr', 'wrr', 'lc', 'wlc', 'lblc', 'lblcr', 'sh', 'mh', 'dh', 'sed', 'nq', 'fo', 'ovf', 'twos'];
const localModes = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'] as const;

/** Of a text that was checked before. */
function parseBindAddress(text: string): BindAddress {
  const { host = '', port = '' } = splitHostPort(text) ?? {};
  return { host, port: Number(port) };
}

/** Reads a nested field of the file; the shape was checked before. */
function fileValue(file: Record<string, unknown>, path: string): unknown {
  let value: unknown = file;
  for (const key of path.split('.')) value = (value as Record<string, unknown> | undefined | null)?.[key];
  return value ?? undefined;
}

function decode(flags: Record<string, FlagValue>, file: Record<string, unknown>): ProxyConfig {
  const text = (flag: string, path: string, fallback: string): string =>
    String(flags[flag] ?? (fileValue(file, path) || fallback));
  const truth = (flag: string, path: string, fallback: boolean): boolean =>
    Boolean(flags[flag] ?? fileValue(file, path) ?? fallback);
  const duration = (flag: string, path: string, fallbackMs: number): number => {
    const given = flags[flag];
    if (given !== undefined) return Number(given);
    const inFile = parseDurationMs(String(fileValue(file, path) ?? '0s'));
    return inFile === 0 ? fallbackMs : inFile;
  };
  const list = (flag: string, path: string): string[] => {
    const value = flags[flag] ?? fileValue(file, path) ?? [];
    return typeof value === 'string' ? value.split(',').filter((part) => part !== '') : (value as string[]);
  };
  const clusterCIDRs = list('cluster-cidr', 'clusterCIDR');
  const nodePortAddresses = list('nodeport-addresses', 'nodePortAddresses');
  const modeSettings = (name: ModeName): ModeSettings => {
    // Node ports on loopback need iptables; in nftables mode the addresses the cluster knows are enough.
    const addresses = nodePortAddresses.length > 0 || name !== 'nftables' ? nodePortAddresses : ['primary'];
    // Mode ipvs masquerades by iptables, and has no fields of its own for it.
    const masquerading = name === 'ipvs' ? 'iptables' : name;
    const bitFlag = masquerading === 'iptables' ? flags['iptables-masquerade-bit'] : undefined;
    const masqueradeBit = Number(bitFlag ?? fileValue(file, `${masquerading}.masqueradeBit`) ?? 14);
    const periods = name === 'ipvs' ? 'ipvs' : 'iptables';
    return {
      masqueradeAll: truth('masquerade-all', `${masquerading}.masqueradeAll`, false),
      masqueradeBit,
      minSyncPeriodMs: duration(`${periods}-min-sync-period`, `${name}.minSyncPeriod`, 1000),
      syncPeriodMs: duration(`${periods}-sync-period`, `${name}.syncPeriod`, 30_000),
      nodePortAddresses: addresses,
    };
  };
  /** As `duration`, but 0 that was given stays 0: the kernel's setting is left alone. */
  const timeout = (flag: string, path: string, fallbackMs: number): number => {
    const inFile = fileValue(file, path);
    return Number(flags[flag] ?? (inFile === undefined ? fallbackMs : parseDurationMs(String(inFile))));
  };
  const ipvs: IpvsSettings = {
    scheduler: text('ipvs-scheduler', 'ipvs.scheduler', 'rr'),
    strictArp: truth('ipvs-strict-arp', 'ipvs.strictARP', false),
    excludeCIDRs: list('ipvs-exclude-cidrs', 'ipvs.excludeCIDRs'),
    timeouts: {
      tcp: Math.ceil(duration('ipvs-tcp-timeout', 'ipvs.tcpTimeout', 0) / 1000),
      tcpFin: Math.ceil(duration('ipvs-tcpfin-timeout', 'ipvs.tcpFinTimeout', 0) / 1000),
      udp: Math.ceil(duration('ipvs-udp-timeout', 'ipvs.udpTimeout', 0) / 1000),
    },
  };
  if (!schedulers.includes(ipvs.scheduler)) {
    throw new UsageError(`ipvs.scheduler "${ipvs.scheduler}" is unknown; allowed: ${schedulers.join(', ')}`);
  }
  const wantedMode = text('proxy-mode', 'mode', '');
  const wantedLocalMode = text('detect-local-mode', 'detectLocalMode', 'ClusterCIDR');
  const mode = modeNames.find((name) => name === wantedMode);
  const detectLocalMode = localModes.find((name) => name === wantedLocalMode) ?? 'ClusterCIDR';
  const modes = { iptables: modeSettings('iptables'), nftables: modeSettings('nftables'), ipvs: modeSettings('ipvs') };
  const conntrack: ConntrackSettings = {
    maxPerCore: Number(flags['conntrack-max-per-core'] ?? fileValue(file, 'conntrack.maxPerCore') ?? 32_768),
    min: Number(flags['conntrack-min'] ?? fileValue(file, 'conntrack.min') ?? 131_072),
    tcpBeLiberal: truth('conntrack-tcp-be-liberal', 'conntrack.tcpBeLiberal', false),
    tcpEstablishedMs: timeout('conntrack-tcp-timeout-established', 'conntrack.tcpEstablishedTimeout', 86_400_000),
    tcpCloseWaitMs: timeout('conntrack-tcp-timeout-close-wait', 'conntrack.tcpCloseWaitTimeout', 3_600_000),
    udpMs: timeout('conntrack-udp-timeout', 'conntrack.udpTimeout', 0),
    udpStreamMs: timeout('conntrack-udp-timeout-stream', 'conntrack.udpStreamTimeout', 0),
  };
  // A flag that is given and empty switches a server off.
  const off = '0.0.0.0:0';
  const healthzBindAddress = text('healthz-bind-address', 'healthzBindAddress', '0.0.0.0:10256') || off;
  const metricsBindAddress = text('metrics-bind-address', 'metricsBindAddress', '127.0.0.1:10249') || off;
  const bridgeInterface = text('pod-bridge-interface', 'detectLocal.bridgeInterface', '');
  const interfaceNamePrefix = text('pod-interface-name-prefix', 'detectLocal.interfaceNamePrefix', '');
  const { syncPeriodMs, minSyncPeriodMs } = modes[mode ?? 'iptables'];
  const wrong = validateConfig({
    mode: wantedMode,
    detectLocalMode: wantedLocalMode,
    bridgeInterface,
    interfaceNamePrefix,
    clusterCIDRs,
    nodePortAddresses,
    excludeCIDRs: ipvs.excludeCIDRs,
    iptablesMasqueradeBit: modes.iptables.masqueradeBit,
    nftablesMasqueradeBit: modes.nftables.masqueradeBit,
    syncPeriodMs,
    minSyncPeriodMs,
    configSyncPeriodMs: duration('config-sync-period', 'configSyncPeriod', 900_000),
    maxPerCore: conntrack.maxPerCore,
    conntrackMin: conntrack.min,
    conntrackTimeouts: {
      TCPEstablishedTimeout: conntrack.tcpEstablishedMs,
      TCPCloseWaitTimeout: conntrack.tcpCloseWaitMs,
      UDPTimeout: conntrack.udpMs,
      UDPStreamTimeout: conntrack.udpStreamMs,
    },
    ipvsTimeouts: {
      TCPTimeout: ipvs.timeouts.tcp * 1000,
      TCPFinTimeout: ipvs.timeouts.tcpFin * 1000,
      UDPTimeout: ipvs.timeouts.udp * 1000,
    },
    oomScoreAdj: Number(flags['oom-score-adj'] ?? fileValue(file, 'oomScoreAdj') ?? -999),
    burst: Number(flags['kube-api-burst'] ?? fileValue(file, 'clientConnection.burst') ?? 0),
    bindAddress: text('bind-address', 'bindAddress', '0.0.0.0'),
    healthzBindAddress,
    metricsBindAddress,
  });
  if (wrong !== undefined) throw new UsageError(wrong);
  const dnsAddress = flags['dns-bind-address'] === undefined ? undefined : String(flags['dns-bind-address']);
  if (dnsAddress !== undefined && !/:\d+$/.test(dnsAddress)) {
    throw new UsageError(`--dns-bind-address takes ADDRESS:PORT, not "${dnsAddress}"`);
  }
  const podNetwork = decodePodNetwork(flags, clusterCIDRs);
  const makesPodNetwork = flags['pod-network'] === true;
  if (makesPodNetwork) requireClusterRanges(podNetwork);
  return {
    kubeconfig: text('kubeconfig', 'clientConnection.kubeconfig', '') || undefined,
    master: text('master', 'master', '') || undefined,
    hostnameOverride: text('hostname-override', 'hostnameOverride', '') || undefined,
    mode,
    modes,
    ipvs,
    detectLocalMode,
    clusterCIDRs,
    bridgeInterface,
    interfaceNamePrefix,
    localhostNodePorts: truth('iptables-localhost-nodeports', 'iptables.localhostNodePorts', true),
    conntrack,
    healthzBindAddress: parseBindAddress(healthzBindAddress),
    metricsBindAddress: parseBindAddress(metricsBindAddress),
    dnsBindAddress: dnsAddress === undefined ? undefined : parseBindAddress(dnsAddress),
    dnsDomain: String(flags['dns-domain'] ?? 'cluster.local'),
    podNetwork,
    makesPodNetwork,
    enforcesPolicies: flags['network-policy'] === true,
    verbosity: Number(flags['v'] ?? 0),
  };
}

/** Fields of the file that change nothing here. */
const withoutEffect = [
  'bindAddress',
  'bindAddressHardFail',
  'clientConnection.acceptContentTypes',
  'clientConnection.burst',
  'clientConnection.contentType',
  'clientConnection.qps',
  'configSyncPeriod',
  'enableProfiling',
  'featureGates',
  'logging',
  'oomScoreAdj',
  'portRange',
  'showHiddenMetricsForVersion',
  'windowsRunAsService',
  'winkernel',
];

/** True for what a generated file writes where nothing was asked for. */
function isUnset(value: unknown): boolean {
  if (typeof value === 'object' && value !== null) return Object.values(value).every(isUnset);
  return value === undefined || value === null || ['', 0, false, '0', '0s', '0.0.0.0'].some((none) => none === value);
}

export interface LoadedConfig {
  config: ProxyConfig;
  /** What `main` does instead of running. */
  action: 'run' | 'init' | 'cleanup' | 'version' | 'help';
  warnings: string[];
  /** The configuration file. */
  path: string | undefined;
  /** Where the default configuration is to be written instead of anything else. */
  writeTo: string | undefined;
}

/** Decodes the command line and the file it names. Throws UsageError with one line that says what is wrong. */
export function loadProxyConfig(argv: readonly string[]): LoadedConfig {
  const { values, warnings } = parseFlags('proxy', [...honouredFlags, ...acceptedFlags], argv);
  for (const { name } of acceptedFlags) {
    if (values[name] !== undefined) warnings.push(`flag --${name} is accepted but has no effect`);
  }
  const path = values['config'];
  const file =
    typeof path === 'string' && path !== ''
      ? loadConfigFile(path, { apiVersion: 'kubeproxy.config.k8s.io/v1alpha1', kind: 'KubeProxyConfiguration', shape })
      : {};
  if (typeof path === 'string' && path !== '') {
    // As kube-proxy: with a file, flags for what is in files count for nothing.
    for (const name of Object.keys(values).filter(fileDecides)) {
      warnings.push(`flag --${name} is ignored: the file of --config decides`);
      delete values[name];
    }
  }
  for (const field of withoutEffect) {
    if (!isUnset(fileValue(file, field))) warnings.push(`field ${field} of ${path} is accepted but has no effect`);
  }
  const given = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  const writeTo = given('write-config-to');
  const actions: [string, LoadedConfig['action']][] = [
    ['help', 'help'],
    ['version', 'version'],
    ['cleanup', 'cleanup'],
    ['init-only', 'init'],
  ];
  const action = actions.find(([flag]) => values[flag] === true)?.[1] ?? 'run';
  return { config: decode(values, file), action, warnings, path: given('config'), writeTo };
}
