// Flags of the control plane, under the names of the reference's components, and what they mean.

import { isIPv4 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { resolve } from 'node:path';
import { formatNetwork, parseNetwork } from '#kube/api/ip-address.ts';
import { type FlagDefinition, type FlagValue, parseFlags, UsageError } from '#kube/process/flags.ts';
import { type ControllersConfig, controllersFlags, parseControllersConfig } from './controllers/controllers-config.ts';
import { parseRequestConfig, type RequestConfig, requestFlags } from './request-config.ts';
import { loadSchedulerConfig } from './scheduler/profile/load-scheduler-config.ts';
import { defaultSchedulerConfig, type SchedulerConfig } from './scheduler/profile/scheduler-config.ts';

/** Where objects are kept: in the data folder, or on etcd. */
export type StoreConfig =
  | { kind: 'embedded' }
  | {
      kind: 'etcd';
      endpoints: string;
      caFile: string | undefined;
      certFile: string | undefined;
      keyFile: string | undefined;
    };

export interface ControlPlaneConfig {
  store: StoreConfig;
  dataDir: string;
  /** EncryptionConfiguration; absent: values are stored as they are. */
  encryptionFile: string | undefined;
  pkiDir: string;
  kubeconfigDir: string;
  bindAddress: string;
  securePort: number;
  advertiseAddress: string;
  /** One for each address family, the default one first. */
  serviceCidrs: [string, ...string[]];
  nodePorts: { first: number; last: number };
  /** One network, or one of each family separated by a comma. */
  clusterCidr: string;
  tlsSanList: string[];
  /** Issuer of service account tokens. */
  issuer: string;
  /** Verifies the agents' serving certificates; absent: not verified. */
  kubeletCertificateAuthority: string | undefined;
  nodeMonitorGraceMs: number;
  eventTtlMs: number;
  /** Proxies may read pods, namespaces and policies: they make the network of pods. */
  nodeNetwork: boolean;
  /** How often history is compacted; 0: never. */
  compactionIntervalMs: number;
  /** Whether others may run the same controllers and scheduler, so that one of them has to be chosen. */
  leaderElect: boolean;
  /** Folder of every node for volumes of the local class; absent: there is no such class. */
  localVolumeDir: string | undefined;
  scheduler: SchedulerConfig;
  requests: RequestConfig;
  controllers: ControllersConfig;
  verbosity: number;
}

export const controlPlaneFlags: readonly FlagDefinition[] = [
  { name: 'data-dir', type: 'string', description: 'folder of the embedded store' },
  { name: 'store', type: 'string', description: 'where objects are kept: embedded, or etcd=URL,…' },
  { name: 'etcd-servers', type: 'string', description: 'the same as --store=etcd=URL,…' },
  { name: 'etcd-cafile', type: 'string', description: "file with the authority of etcd's certificate" },
  { name: 'etcd-certfile', type: 'string', description: 'client certificate for etcd' },
  { name: 'etcd-keyfile', type: 'string', description: 'key of the client certificate for etcd' },
  {
    name: 'encryption-provider-config',
    type: 'string',
    description: 'which resources are sealed in the store, and how',
  },
  { name: 'pki-dir', type: 'string', description: "folder of the cluster's certificates and keys" },
  { name: 'kubeconfig-dir', type: 'string', description: 'folder that gets admin.kubeconfig' },
  { name: 'bind-address', type: 'string', description: 'address to listen on' },
  { name: 'secure-port', type: 'int', description: 'HTTPS port' },
  { name: 'advertise-address', type: 'string', description: 'address at which nodes and pods reach the API server' },
  { name: 'service-cluster-ip-range', type: 'string', description: 'network of cluster IPs: IPv4, or IPv4,IPv6' },
  { name: 'service-node-port-range', type: 'string', description: 'ports of NodePort services, FIRST-LAST' },
  { name: 'cluster-cidr', type: 'string', description: 'network of pods; of each family one, after a comma' },
  { name: 'tls-san-list', type: 'list', description: 'further names and addresses of the serving certificate' },
  { name: 'service-account-issuer', type: 'string', description: 'issuer of service account tokens' },
  {
    name: 'kubelet-certificate-authority',
    type: 'string',
    description: "file with the authority of agents' certificates",
  },
  { name: 'node-monitor-grace-period', type: 'duration', description: 'silence after which a node is not ready' },
  { name: 'event-ttl', type: 'duration', description: 'how long events are kept' },
  {
    name: 'etcd-compaction-interval',
    type: 'duration',
    description: 'how often history is compacted, in either store; 0: never',
  },
  {
    name: 'leader-elect',
    type: 'boolean',
    description: 'run controllers and scheduler only as leader; with etcd where nothing is said',
  },
  {
    name: 'allow-proxy-pod-network',
    type: 'boolean',
    description: 'let proxies read pods, namespaces and network policies, for their --pod-network',
  },
  { name: 'local-volume-dir', type: 'string', description: 'folder of the nodes for volumes of the default class' },
  { name: 'scheduler-config', type: 'string', description: 'KubeSchedulerConfiguration of the scheduler' },
  ...requestFlags,
  ...controllersFlags,
  { name: 'v', type: 'int', description: 'verbosity of the log; 4 and more is debug' },
];

const minuteMs = 60_000;
const hourMs = 60 * minuteMs;

/** The first address of the machine that is not loopback, as the reference chooses it. */
export function defaultAdvertiseAddress(interfaces = networkInterfaces()): string {
  const addresses = Object.values(interfaces).flatMap((list) => list ?? []);
  return addresses.find(({ family, internal }) => family === 'IPv4' && !internal)?.address ?? '127.0.0.1';
}

function parsePortRange(text: string): { first: number; last: number } {
  const match = /^(\d+)-(\d+)$/.exec(text);
  const [first, last] = [Number(match?.[1]), Number(match?.[2])];
  if (match === null || first < 1 || last > 65535 || first > last) {
    throw new UsageError(`--service-node-port-range takes FIRST-LAST such as 30000-32767, not "${text}"`);
  }
  return { first, last };
}

/** One network, or one of each family. */
function checkClusterCidr(text: string): string {
  const networks = text.split(',').map((range) => parseNetwork(range.trim()));
  const families = networks.map((network) => network?.family);
  const isRoom = networks.every(
    (each) => each !== undefined && each.prefix >= 8 && each.prefix <= (each.family === 4 ? 28 : 112),
  );
  if (isRoom && new Set(families).size === families.length) return text;
  throw new UsageError(
    `--cluster-cidr takes a network such as 10.244.0.0/16, or one of each family such as 10.244.0.0/16,fd00:10:244::/56, not "${text}"`,
  );
}

/** One network of each family, IPv4 first as the address that is advertised. */
function parseServiceCidrs(text: string): [string, ...string[]] {
  const [first = '', second, ...more] = text.split(',').map((range) => range.trim());
  const wrong = new UsageError(
    `--service-cluster-ip-range takes an IPv4 network such as 10.96.0.0/16, and after a comma an IPv6 network of at most 112 bits such as fd00:10:96::/112, not "${text}"`,
  );
  const networks = [first, ...(second === undefined ? [] : [second])].map(parseNetwork);
  const [ipv4, ipv6] = networks;
  const isFirst = ipv4?.family === 4 && ipv4.prefix >= 8 && ipv4.prefix <= 28;
  const isSecond = second === undefined || (ipv6?.family === 6 && ipv6.prefix >= 64 && ipv6.prefix <= 112);
  if (!isFirst || !isSecond || more.length > 0) throw wrong;
  return [first, ...(ipv6 === undefined ? [] : [formatNetwork(ipv6)])];
}

function parseStore(values: Record<string, FlagValue>): StoreConfig {
  const servers = values['etcd-servers'];
  const store = String(values['store'] ?? (servers === undefined ? 'embedded' : `etcd=${String(servers)}`));
  if (store === 'embedded') return { kind: 'embedded' };
  if (!/^etcd=\S+$/.test(store)) throw new UsageError(`--store takes embedded or etcd=URL,…, not "${store}"`);
  const file = (name: string) => (values[name] === undefined ? undefined : String(values[name]));
  const [caFile, certFile, keyFile] = [file('etcd-cafile'), file('etcd-certfile'), file('etcd-keyfile')];
  return { kind: 'etcd', endpoints: store.slice('etcd='.length), caFile, certFile, keyFile };
}

/** Folders in the kernel's own file systems cannot be made; Node's recursive mkdir never ends trying. */
function checkFolder(flag: string, path: string): string {
  if (/^\/(proc|sys)(\/|$)/.test(resolve(path)))
    throw new UsageError(`--${flag} takes a folder on disk, not "${path}"`);
  return path;
}

/** Decodes the command line. Throws UsageError with one line that says what is wrong. */
export function parseControlPlaneConfig(argv: readonly string[]): { config: ControlPlaneConfig; warnings: string[] } {
  const { values, warnings } = parseFlags('control-plane', controlPlaneFlags, argv);
  const text = (name: string, otherwise: string) => String(values[name] ?? otherwise);
  const number = (name: string, otherwise: number) => Number(values[name] ?? otherwise);
  const securePort = number('secure-port', 6443);
  if (securePort < 0 || securePort > 65535) throw new UsageError(`--secure-port takes a port, not ${securePort}`);
  const advertiseAddress = text('advertise-address', defaultAdvertiseAddress());
  if (!isIPv4(advertiseAddress))
    throw new UsageError(`--advertise-address takes an IPv4 address, not "${advertiseAddress}"`);
  const authority = values['kubelet-certificate-authority'];
  const store = parseStore(values);
  const names = values['tls-san-list'];
  return {
    warnings,
    config: {
      store,
      dataDir: checkFolder('data-dir', text('data-dir', '/var/lib/berth/control-plane')),
      encryptionFile:
        values['encryption-provider-config'] === undefined ? undefined : text('encryption-provider-config', ''),
      pkiDir: checkFolder('pki-dir', text('pki-dir', '/var/lib/berth/pki')),
      kubeconfigDir: checkFolder('kubeconfig-dir', text('kubeconfig-dir', '/etc/berth')),
      bindAddress: text('bind-address', '0.0.0.0'),
      securePort,
      advertiseAddress,
      serviceCidrs: parseServiceCidrs(text('service-cluster-ip-range', '10.96.0.0/16')),
      nodePorts: parsePortRange(text('service-node-port-range', '30000-32767')),
      clusterCidr: checkClusterCidr(text('cluster-cidr', '10.244.0.0/16')),
      tlsSanList: Array.isArray(names) ? names : [],
      issuer: text('service-account-issuer', 'https://kubernetes.default.svc.cluster.local'),
      kubeletCertificateAuthority: authority === undefined ? undefined : String(authority),
      nodeMonitorGraceMs: number('node-monitor-grace-period', 50_000),
      eventTtlMs: number('event-ttl', hourMs),
      nodeNetwork: Boolean(values['allow-proxy-pod-network'] ?? false),
      compactionIntervalMs: number('etcd-compaction-interval', 5 * minuteMs),
      leaderElect: Boolean(values['leader-elect'] ?? store.kind === 'etcd'),
      localVolumeDir: values['local-volume-dir'] === undefined ? undefined : text('local-volume-dir', ''),
      scheduler:
        values['scheduler-config'] === undefined
          ? defaultSchedulerConfig
          : loadSchedulerConfig(text('scheduler-config', '')),
      requests: parseRequestConfig(values),
      controllers: parseControllersConfig(values),
      verbosity: number('v', 0),
    },
  };
}
