// Kubelet's flags: all are accepted; most are older names of configuration fields, which they override.
import type { FlagDefinition } from '#kube/process/flags.ts';
import flagFacts from './data/flags.json' with { type: 'json' };

/** Configuration field of each flag that has one, as a dotted path. */
export const fieldOfFlag: Record<string, string> = {
  address: 'address',
  'allowed-unsafe-sysctls': 'allowedUnsafeSysctls',
  'anonymous-auth': 'authentication.anonymous.enabled',
  'authentication-token-webhook': 'authentication.webhook.enabled',
  'authentication-token-webhook-cache-ttl': 'authentication.webhook.cacheTTL',
  'authorization-mode': 'authorization.mode',
  'authorization-webhook-cache-authorized-ttl': 'authorization.webhook.cacheAuthorizedTTL',
  'authorization-webhook-cache-unauthorized-ttl': 'authorization.webhook.cacheUnauthorizedTTL',
  'cgroup-driver': 'cgroupDriver',
  'cgroup-root': 'cgroupRoot',
  'cgroups-per-qos': 'cgroupsPerQOS',
  'client-ca-file': 'authentication.x509.clientCAFile',
  'cluster-dns': 'clusterDNS',
  'cluster-domain': 'clusterDomain',
  'container-log-max-files': 'containerLogMaxFiles',
  'container-log-max-size': 'containerLogMaxSize',
  'container-runtime-endpoint': 'containerRuntimeEndpoint',
  'cpu-cfs-quota': 'cpuCFSQuota',
  'cpu-cfs-quota-period': 'cpuCFSQuotaPeriod',
  'enable-debugging-handlers': 'enableDebuggingHandlers',
  'enable-server': 'enableServer',
  'enforce-node-allocatable': 'enforceNodeAllocatable',
  'event-burst': 'eventBurst',
  'event-qps': 'eventRecordQPS',
  'eviction-hard': 'evictionHard',
  'eviction-soft': 'evictionSoft',
  'eviction-soft-grace-period': 'evictionSoftGracePeriod',
  'eviction-pressure-transition-period': 'evictionPressureTransitionPeriod',
  'eviction-max-pod-grace-period': 'evictionMaxPodGracePeriod',
  'eviction-minimum-reclaim': 'evictionMinimumReclaim',
  'fail-cgroupv1': 'failCgroupV1',
  'fail-swap-on': 'failSwapOn',
  'feature-gates': 'featureGates',
  'file-check-frequency': 'fileCheckFrequency',
  'http-check-frequency': 'httpCheckFrequency',
  'manifest-url': 'staticPodURL',
  'manifest-url-header': 'staticPodURLHeader',
  'healthz-bind-address': 'healthzBindAddress',
  'healthz-port': 'healthzPort',
  'image-gc-high-threshold': 'imageGCHighThresholdPercent',
  'image-gc-low-threshold': 'imageGCLowThresholdPercent',
  'image-service-endpoint': 'imageServiceEndpoint',
  'kube-api-burst': 'kubeAPIBurst',
  'kube-api-qps': 'kubeAPIQPS',
  'kube-reserved': 'kubeReserved',
  'local-storage-capacity-isolation': 'localStorageCapacityIsolation',
  'max-pods': 'maxPods',
  'node-status-max-images': 'nodeStatusMaxImages',
  'node-status-update-frequency': 'nodeStatusUpdateFrequency',
  'oom-score-adj': 'oomScoreAdj',
  'pod-cidr': 'podCIDR',
  'pod-manifest-path': 'staticPodPath',
  'pod-max-pids': 'podPidsLimit',
  port: 'port',
  'read-only-port': 'readOnlyPort',
  'register-node': 'registerNode',
  'resolv-conf': 'resolvConf',
  'rotate-certificates': 'rotateCertificates',
  'runtime-request-timeout': 'runtimeRequestTimeout',
  'seccomp-default': 'seccompDefault',
  'serialize-image-pulls': 'serializeImagePulls',
  'streaming-connection-idle-timeout': 'streamingConnectionIdleTimeout',
  'sync-frequency': 'syncFrequency',
  'system-reserved': 'systemReserved',
  'tls-cert-file': 'tlsCertFile',
  'tls-cipher-suites': 'tlsCipherSuites',
  'tls-min-version': 'tlsMinVersion',
  'tls-private-key-file': 'tlsPrivateKeyFile',
};

/** Flags that are not configuration fields and that this agent acts on. */
const honoured = new Set([
  'bootstrap-kubeconfig',
  'cert-dir',
  'cloud-provider',
  'config',
  'config-dir',
  'help',
  'hostname-override',
  'image-credential-provider-bin-dir',
  'image-credential-provider-config',
  'kubeconfig',
  'machine-id-file',
  'boot-id-file',
  'node-ip',
  'node-labels',
  'provider-id',
  'register-with-taints',
  'root-dir',
  'v',
  'version',
]);

/** Removed from v1.36, but still in files that installers wrote: ignored with a warning. */
const removed = ['pod-infra-container-image', 'network-plugin', 'container-runtime', 'cni-conf-dir', 'cni-bin-dir'];

function typeOf(fact: string): FlagDefinition['type'] {
  switch (fact) {
    case 'bool':
    case 'version[=true]':
    case 'RuntimeDefault':
      return 'boolean';
    case 'int':
    case 'int32':
    case 'Level':
      return 'int';
    case 'duration':
      return 'duration';
    case 'strings':
      return 'list';
    case 'mapStringString':
    case 'mapStringBool':
      return 'map';
    default:
      return 'string';
  }
}

/** Every flag, for `parseFlags`. */
export const kubeletFlags: readonly FlagDefinition[] = [
  ...flagFacts.map(({ name, type, default: fallback }) => {
    const field = fieldOfFlag[name];
    const about = field === undefined ? '' : `sets ${field} of the configuration file`;
    return {
      name,
      type: typeOf(type),
      description: [about, fallback === undefined ? '' : `(default ${fallback})`]
        .filter((text) => text !== '')
        .join(' '),
    };
  }),
  ...removed.map((name) => ({ name, type: 'string' as const, description: 'removed, ignored' })),
];

/** Why a given flag has no effect; undefined when it has one. */
export function whyIgnored(name: string): string | undefined {
  if (removed.includes(name)) return `flag --${name} has been removed from kubelet and is ignored`;
  if (fieldOfFlag[name] !== undefined || honoured.has(name)) return undefined;
  return `flag --${name} is accepted and has no effect`;
}
