// Flags of kube-proxy v1.36. As there, most of them count only where no configuration file is given.
import type { FlagDefinition } from '#kube/process/flags.ts';
import { podNetworkFlags } from './pod-network-config.ts';

/** Flags that are honoured. */
export const honouredFlags: readonly FlagDefinition[] = [
  { name: 'config', type: 'string', description: 'KubeProxyConfiguration file' },
  { name: 'kubeconfig', type: 'string', description: 'kubeconfig with the credentials of this proxy' },
  { name: 'master', type: 'string', description: 'address of the API server, instead of the one in the kubeconfig' },
  { name: 'hostname-override', type: 'string', description: 'name of this node, instead of the host name' },
  { name: 'proxy-mode', type: 'string', description: 'iptables, nftables or ipvs; the first that works where absent' },
  { name: 'cluster-cidr', type: 'list', description: 'ranges of the pod network' },
  {
    name: 'detect-local-mode',
    type: 'string',
    description: 'ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix',
  },
  { name: 'pod-bridge-interface', type: 'string', description: 'bridge that local pods are behind' },
  { name: 'pod-interface-name-prefix', type: 'string', description: 'prefix of the interfaces local pods are behind' },
  { name: 'masquerade-all', type: 'boolean', description: 'masquerade everything sent to cluster IPs' },
  { name: 'iptables-masquerade-bit', type: 'int', description: 'bit of the packet mark that asks for masquerading' },
  { name: 'iptables-localhost-nodeports', type: 'boolean', description: 'answer node ports on loopback addresses' },
  { name: 'iptables-min-sync-period', type: 'duration', description: 'least time between two changes of rules' },
  { name: 'iptables-sync-period', type: 'duration', description: 'how often rules are checked against the kernel' },
  { name: 'ipvs-scheduler', type: 'string', description: 'how mode ipvs chooses an endpoint; rr where absent' },
  { name: 'ipvs-strict-arp', type: 'boolean', description: 'answer ARP for the addresses of the asked interface only' },
  { name: 'ipvs-exclude-cidrs', type: 'list', description: 'ranges whose virtual servers belong to somebody else' },
  { name: 'ipvs-min-sync-period', type: 'duration', description: 'least time between two changes in mode ipvs' },
  { name: 'ipvs-sync-period', type: 'duration', description: 'how often mode ipvs checks itself against the kernel' },
  { name: 'ipvs-tcp-timeout', type: 'duration', description: 'how long ipvs keeps idle TCP connections' },
  { name: 'ipvs-tcpfin-timeout', type: 'duration', description: 'how long ipvs keeps TCP connections after a FIN' },
  { name: 'ipvs-udp-timeout', type: 'duration', description: 'how long ipvs keeps flows of UDP' },
  { name: 'nodeport-addresses', type: 'list', description: 'ranges whose local addresses take node ports' },
  {
    name: 'conntrack-tcp-be-liberal',
    type: 'boolean',
    description: 'let packets through that conntrack finds invalid',
  },
  { name: 'conntrack-max-per-core', type: 'int', description: 'connections tracked per core; 0 leaves the limit' },
  { name: 'conntrack-min', type: 'int', description: 'connections tracked at least' },
  { name: 'conntrack-tcp-timeout-close-wait', type: 'duration', description: 'how long half-closed flows are kept' },
  { name: 'conntrack-tcp-timeout-established', type: 'duration', description: 'how long idle TCP flows are kept' },
  { name: 'conntrack-udp-timeout', type: 'duration', description: 'how long unanswered UDP flows are kept' },
  { name: 'conntrack-udp-timeout-stream', type: 'duration', description: 'how long answered UDP flows are kept' },
  { name: 'healthz-bind-address', type: 'string', description: 'address and port of the health server' },
  { name: 'metrics-bind-address', type: 'string', description: 'address and port of the metrics server' },
  {
    name: 'dns-bind-address',
    type: 'string',
    description: 'address and port to answer cluster DNS on; berth only, off where absent',
  },
  { name: 'dns-domain', type: 'string', description: 'the cluster domain, cluster.local where absent; berth only' },
  ...podNetworkFlags,
  { name: 'cleanup', type: 'boolean', description: 'remove all rules of the proxy and exit' },
  { name: 'init-only', type: 'boolean', description: 'change what takes full rights to change, and exit' },
  { name: 'write-config-to', type: 'string', description: 'write the default configuration to this file, and exit' },
  { name: 'v', type: 'int', description: 'log verbosity' },
  { name: 'version', type: 'boolean', description: 'print the version and exit' },
  { name: 'help', type: 'boolean', description: 'print this text' },
];

const notHonoured: [string, FlagDefinition['type']][] = [
  ['bind-address', 'string'],
  ['bind-address-hard-fail', 'boolean'],
  ['boot-id-file', 'string'],
  ['config-sync-period', 'duration'],
  ['feature-gates', 'map'],
  ['kube-api-burst', 'int'],
  ['kube-api-content-type', 'string'],
  ['kube-api-qps', 'string'],
  ['log-flush-frequency', 'duration'],
  ['log-json-info-buffer-size', 'string'],
  ['log-json-split-stream', 'boolean'],
  ['log-text-info-buffer-size', 'string'],
  ['log-text-split-stream', 'boolean'],
  ['logging-format', 'string'],
  ['machine-id-file', 'string'],
  ['oom-score-adj', 'int'],
  ['profiling', 'boolean'],
  ['show-hidden-metrics-for-version', 'string'],
  ['vmodule', 'string'],
];

/** Flags that are accepted so that a kube-proxy command line works, and warned about when given. */
export const acceptedFlags: readonly FlagDefinition[] = notHonoured.map(([name, type]) => ({
  name,
  type,
  description: 'accepted, without effect',
}));

/** Flags that are for the program and not for what a file has, and hostname-override, which wins over the file. */
const besideFile = new Set(
  'boot-id-file cleanup config dns-bind-address dns-domain help hostname-override init-only machine-id-file master v version vmodule write-config-to'.split(
    ' ',
  ),
);
for (const { name } of podNetworkFlags) besideFile.add(name);

/** Whether a configuration file takes the place of the flag. Logging flags win over it. */
export const fileDecides = (name: string): boolean => !besideFile.has(name) && !name.startsWith('log');
