// What kube-proxy refuses in its configuration, in kube-proxy's words. Pure.
// (Kubernetes: pkg/proxy/apis/config/validation)
import { isIP } from 'node:net';
import { isCidr } from '#kube/api/ip-address.ts';
import { type FieldError, invalidField, unsupportedField } from '#kube/errors/field-error.ts';

/** The values as they were given or are by default; times are milliseconds. */
export interface ConfigValues {
  mode: string;
  detectLocalMode: string;
  bridgeInterface: string;
  interfaceNamePrefix: string;
  clusterCIDRs: readonly string[];
  nodePortAddresses: readonly string[];
  excludeCIDRs: readonly string[];
  iptablesMasqueradeBit: number;
  nftablesMasqueradeBit: number;
  syncPeriodMs: number;
  minSyncPeriodMs: number;
  configSyncPeriodMs: number;
  maxPerCore: number;
  conntrackMin: number;
  /** By the name of the field. */
  conntrackTimeouts: Readonly<Record<string, number>>;
  ipvsTimeouts: Readonly<Record<string, number>>;
  oomScoreAdj: number;
  burst: number;
  bindAddress: string;
  healthzBindAddress: string;
  metricsBindAddress: string;
}

const root = 'KubeProxyConfiguration';
const localModes = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix', ''];
const modes = ['', 'iptables', 'ipvs', 'nftables'];
const modeText =
  'must be iptables, ipvs, nftables or blank (blank means the best-available proxy [currently iptables])';
const pairText =
  'must be a either a single CIDR or dual-stack pair of CIDRs (e.g. [10.100.0.0/16, fde4:8dba:82e1::/48]';
const blockText = 'must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)';

/** As `ADDRESS:PORT` or `[ADDRESS]:PORT`; undefined for anything else. */
export function splitHostPort(text: string): { host: string; port: string } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([^:]*)$/.exec(text);
  return match === null ? undefined : { host: match[1] ?? match[2] ?? '', port: match[3] ?? '' };
}

function notNegative(field: string, value: number, shown: unknown = value): FieldError[] {
  return value >= 0 ? [] : [invalidField(field, shown, 'must be greater than or equal to 0')];
}

/** As Go writes a duration, for those that messages are about. */
const duration = (ms: number): string => (ms % 1000 === 0 ? `${ms / 1000}s` : `${ms}ms`);

/** A duration is shown without quotes. */
function invalidDuration(field: string, ms: number, detail: string): FieldError {
  return { field, reason: 'FieldValueInvalid', message: `Invalid value: ${duration(ms)}: ${detail}` };
}

function within(field: string, value: number, from: number, to: number): FieldError[] {
  return value >= from && value <= to ? [] : [invalidField(field, value, `must be within the range [${from}, ${to}]`)];
}

/** Port 0 switches a server off: an addition of berth. */
function hostPort(field: string, text: string): FieldError[] {
  const parts = splitHostPort(text);
  if (parts === undefined) return [invalidField(field, text, 'must be IP:port')];
  const errors = isIP(parts.host) === 0 ? [invalidField(field, parts.host, 'must be a valid IP')] : [];
  const isPort = /^\d{1,5}$/.test(parts.port) && Number(parts.port) <= 65_535;
  return isPort ? errors : [...errors, invalidField(field, parts.port, 'must be a valid port')];
}

function clusterRanges(field: string, cidrs: readonly string[]): FieldError[] {
  if (cidrs.length > 2) return [invalidField(field, cidrs, pairText)];
  const wrong = cidrs.flatMap((cidr, i) => (isCidr(cidr) ? [] : [invalidField(`${field}[${i}]`, cidr, blockText)]));
  const families = new Set(cidrs.map((cidr) => isIP(cidr.split('/')[0] ?? '')));
  if (wrong.length === 0 && families.size < cidrs.length) return [invalidField(field, cidrs, pairText)];
  return wrong;
}

function nodePortRanges(field: string, addresses: readonly string[]): FieldError[] {
  const primary = addresses.indexOf('primary');
  if (primary >= 0 && addresses.length > 1) {
    return [invalidField(`${field}[${primary}]`, 'primary', "can't use both 'primary' and CIDRs")];
  }
  if (primary >= 0) return [];
  return addresses.flatMap((cidr, i) =>
    isCidr(cidr) ? [] : [invalidField(`${field}[${i}]`, cidr, 'must be a valid CIDR')],
  );
}

function detectLocal(values: ConfigValues): FieldError[] {
  const field = `${root}.DetectLocalConfiguration`;
  const named = (name: string, value: string) =>
    value === '' ? [invalidField(`${field}.${name}`, value, 'must not be empty')] : [];
  switch (values.detectLocalMode) {
    case 'BridgeInterface':
      return named('InterfaceName', values.bridgeInterface);
    case 'InterfaceNamePrefix':
      return named('InterfacePrefix', values.interfaceNamePrefix);
    case 'NodeCIDR':
      return [];
    case 'ClusterCIDR':
      return clusterRanges(`${field}.ClusterCIDRs`, values.clusterCIDRs);
    default:
      return [unsupportedField(`${root}.DetectLocalMode`, values.detectLocalMode, localModes)];
  }
}

function syncPeriods({ syncPeriodMs, minSyncPeriodMs, configSyncPeriodMs }: ConfigValues): FieldError[] {
  const positive = 'must be greater than 0';
  const errors: FieldError[] = [];
  if (configSyncPeriodMs <= 0) errors.push(invalidDuration(`${root}.ConfigSyncPeriod`, configSyncPeriodMs, positive));
  if (syncPeriodMs <= 0) errors.push(invalidDuration(`${root}.SyncPeriod`, syncPeriodMs, positive));
  if (minSyncPeriodMs < 0) {
    errors.push(invalidDuration(`${root}.MinSyncPeriod`, minSyncPeriodMs, 'must be greater than or equal to 0'));
  }
  if (minSyncPeriodMs > syncPeriodMs) {
    const detail = `must be greater than or equal to ${root}.MinSyncPeriod`;
    errors.push(invalidDuration(`${root}.SyncPeriod`, minSyncPeriodMs, detail));
  }
  return errors;
}

function ipvs({ mode, excludeCIDRs, ipvsTimeouts }: ConfigValues): FieldError[] {
  if (mode !== 'ipvs') return [];
  const field = `${root}.KubeProxyIPVSConfiguration`;
  return [
    ...Object.entries(ipvsTimeouts).flatMap(([name, ms]) =>
      ms < 0 ? [invalidDuration(`${field}.${name}`, ms, 'must be greater than or equal to 0')] : [],
    ),
    ...excludeCIDRs.flatMap((cidr, i) =>
      isCidr(cidr) ? [] : [invalidField(`${field}.ExcludeCidrs[${i}]`, cidr, 'must be a valid CIDR')],
    ),
  ];
}

function conntrack({ maxPerCore, conntrackMin, conntrackTimeouts }: ConfigValues): FieldError[] {
  const field = `${root}.KubeProxyLinuxConfiguration.KubeProxyConntrackConfiguration`;
  return [
    ...notNegative(`${field}.MaxPerCore`, maxPerCore),
    ...notNegative(`${field}.Min`, conntrackMin),
    ...Object.entries(conntrackTimeouts).flatMap(([name, ms]) =>
      ms < 0 ? [invalidDuration(`${field}.${name}`, ms, 'must be greater than or equal to 0')] : [],
    ),
  ];
}

/** The message for all that is wrong; undefined where nothing is. */
export function validateConfig(values: ConfigValues): string | undefined {
  const nft = `${root}.KubeProxyNFTablesConfiguration.MasqueradeBit`;
  const errors = [
    ...within(`${root}.KubeProxyIPTablesConfiguration.MasqueradeBit`, values.iptablesMasqueradeBit, 0, 31),
    ...ipvs(values),
    ...(values.mode === 'nftables' ? within(nft, values.nftablesMasqueradeBit, 0, 31) : []),
    ...conntrack(values),
    ...within(`${root}.KubeProxyLinuxConfiguration.OOMScoreAdj`, values.oomScoreAdj, -1000, 1000),
    ...(modes.includes(values.mode) ? [] : [invalidField(`${root}.Mode.ProxyMode`, values.mode, modeText)]),
    ...notNegative(`${root}.ClientConnection.Burst`, values.burst),
    ...syncPeriods(values),
    ...(isIP(values.bindAddress) === 0
      ? [invalidField(`${root}.BindAddress`, values.bindAddress, 'not a valid textual representation of an IP address')]
      : []),
    ...hostPort(`${root}.HealthzBindAddress`, values.healthzBindAddress),
    ...hostPort(`${root}.MetricsBindAddress`, values.metricsBindAddress),
    ...nodePortRanges(`${root}.NodePortAddresses`, values.nodePortAddresses),
    ...detectLocal(values),
  ].map(({ field, message }) => `${field}: ${message}`);
  if (errors.length < 2) return errors[0];
  return `[${errors.join(', ')}]`;
}
