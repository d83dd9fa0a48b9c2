// The proxy's configuration: KubeProxyConfiguration (kubeproxy.config.k8s.io/v1alpha1) with flags on top.
import { type ConfigShape, loadConfigFile } from '#kube/process/config-file.ts';
import { type FlagValue, parseDurationMs, parseFlags, UsageError } from '#kube/process/flags.ts';
import { isCidr } from '../model/cidr.ts';
import type { DetectLocal } from '../model/detect-local.ts';
import type { ConntrackSettings } from '../plan/plan-conntrack-sysctls.ts';
import { acceptedFlags, honouredFlags } from './flags.ts';

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

function parseBindAddress(name: string, text: string): BindAddress {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(text);
  if (match === null) throw new UsageError(`${name} takes ADDRESS:PORT, not "${text}"`);
  return { host: match[1] ?? match[2] ?? '', port: Number(match[3]) };
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
  const wantedMode = text('proxy-mode', 'mode', '');
  const mode = modeNames.find((name) => name === wantedMode);
  if (mode === undefined && wantedMode !== '') {
    throw new UsageError(
      `proxy mode "${wantedMode}" is not available in this version of berth; allowed: ${modeNames.join(', ')}`,
    );
  }
  const detectLocalMode = localModes.find(
    (name) => name === text('detect-local-mode', 'detectLocalMode', 'ClusterCIDR'),
  );
  if (detectLocalMode === undefined) {
    throw new UsageError(
      `detectLocalMode "${text('detect-local-mode', 'detectLocalMode', '')}" is unknown; allowed: ${localModes.join(', ')}`,
    );
  }
  const clusterCIDRs = list('cluster-cidr', 'clusterCIDR');
  const nodePortAddresses = list('nodeport-addresses', 'nodePortAddresses');
  for (const cidr of [...clusterCIDRs, ...nodePortAddresses.filter((value) => value !== 'primary')]) {
    if (!isCidr(cidr)) throw new UsageError(`"${cidr}" is not an address range such as 10.244.0.0/16`);
  }
  const modeSettings = (name: ModeName): ModeSettings => {
    // Node ports on loopback need iptables; in nftables mode the addresses the cluster knows are enough.
    const addresses = nodePortAddresses.length > 0 || name !== 'nftables' ? nodePortAddresses : ['primary'];
    // Mode ipvs masquerades by iptables, and has no fields of its own for it.
    const masquerading = name === 'ipvs' ? 'iptables' : name;
    const bitFlag = masquerading === 'iptables' ? flags['iptables-masquerade-bit'] : undefined;
    const masqueradeBit = Number(bitFlag ?? fileValue(file, `${masquerading}.masqueradeBit`) ?? 14);
    if (masqueradeBit < 0 || masqueradeBit > 31)
      throw new UsageError(`${masquerading}.masqueradeBit must be between 0 and 31, not ${masqueradeBit}`);
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
  for (const cidr of ipvs.excludeCIDRs) {
    if (!isCidr(cidr)) throw new UsageError(`"${cidr}" in ipvs.excludeCIDRs is not an address range`);
  }
  return {
    kubeconfig: text('kubeconfig', 'clientConnection.kubeconfig', '') || undefined,
    master: text('master', 'master', '') || undefined,
    hostnameOverride: text('hostname-override', 'hostnameOverride', '') || undefined,
    mode,
    modes: { iptables: modeSettings('iptables'), nftables: modeSettings('nftables'), ipvs: modeSettings('ipvs') },
    ipvs,
    detectLocalMode,
    clusterCIDRs,
    bridgeInterface: text('pod-bridge-interface', 'detectLocal.bridgeInterface', ''),
    interfaceNamePrefix: text('pod-interface-name-prefix', 'detectLocal.interfaceNamePrefix', ''),
    localhostNodePorts: truth('iptables-localhost-nodeports', 'iptables.localhostNodePorts', true),
    conntrack: {
      maxPerCore: Number(flags['conntrack-max-per-core'] ?? fileValue(file, 'conntrack.maxPerCore') ?? 32_768),
      min: Number(flags['conntrack-min'] ?? fileValue(file, 'conntrack.min') ?? 131_072),
      tcpBeLiberal: truth('conntrack-tcp-be-liberal', 'conntrack.tcpBeLiberal', false),
      tcpEstablishedMs: timeout('conntrack-tcp-timeout-established', 'conntrack.tcpEstablishedTimeout', 86_400_000),
      tcpCloseWaitMs: timeout('conntrack-tcp-timeout-close-wait', 'conntrack.tcpCloseWaitTimeout', 3_600_000),
      udpMs: timeout('conntrack-udp-timeout', 'conntrack.udpTimeout', 0),
      udpStreamMs: timeout('conntrack-udp-timeout-stream', 'conntrack.udpStreamTimeout', 0),
    },
    healthzBindAddress: parseBindAddress(
      'healthzBindAddress',
      text('healthz-bind-address', 'healthzBindAddress', '0.0.0.0:10256'),
    ),
    metricsBindAddress: parseBindAddress(
      'metricsBindAddress',
      text('metrics-bind-address', 'metricsBindAddress', '127.0.0.1:10249'),
    ),
    dnsBindAddress:
      flags['dns-bind-address'] === undefined
        ? undefined
        : parseBindAddress('--dns-bind-address', String(flags['dns-bind-address'])),
    dnsDomain: String(flags['dns-domain'] ?? 'cluster.local'),
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
  return value === undefined || value === null || value === '' || value === 0 || value === false || value === '0s';
}

export interface LoadedConfig {
  config: ProxyConfig;
  /** What `main` does instead of running. */
  action: 'run' | 'cleanup' | 'version' | 'help';
  warnings: string[];
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
  for (const field of withoutEffect) {
    if (!isUnset(fileValue(file, field))) warnings.push(`field ${field} of ${path} is accepted but has no effect`);
  }
  const action = values['help'] ? 'help' : values['version'] ? 'version' : values['cleanup'] ? 'cleanup' : 'run';
  return { config: decode(values, file), action, warnings };
}
