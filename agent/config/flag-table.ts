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
  'contention-profiling': 'enableContentionProfiling',
  'cpu-cfs-quota': 'cpuCFSQuota',
  'cpu-cfs-quota-period': 'cpuCFSQuotaPeriod',
  'cpu-manager-policy': 'cpuManagerPolicy',
  'cpu-manager-policy-options': 'cpuManagerPolicyOptions',
  'cpu-manager-reconcile-period': 'cpuManagerReconcilePeriod',
  'enable-controller-attach-detach': 'enableControllerAttachDetach',
  'enable-debugging-handlers': 'enableDebuggingHandlers',
  'enable-server': 'enableServer',
  'enforce-node-allocatable': 'enforceNodeAllocatable',
  'event-burst': 'eventBurst',
  'event-qps': 'eventRecordQPS',
  'eviction-hard': 'evictionHard',
  'eviction-max-pod-grace-period': 'evictionMaxPodGracePeriod',
  'eviction-minimum-reclaim': 'evictionMinimumReclaim',
  'eviction-pressure-transition-period': 'evictionPressureTransitionPeriod',
  'eviction-soft': 'evictionSoft',
  'eviction-soft-grace-period': 'evictionSoftGracePeriod',
  'fail-cgroupv1': 'failCgroupV1',
  'fail-swap-on': 'failSwapOn',
  'feature-gates': 'featureGates',
  'file-check-frequency': 'fileCheckFrequency',
  'hairpin-mode': 'hairpinMode',
  'healthz-bind-address': 'healthzBindAddress',
  'healthz-port': 'healthzPort',
  'http-check-frequency': 'httpCheckFrequency',
  'image-gc-high-threshold': 'imageGCHighThresholdPercent',
  'image-gc-low-threshold': 'imageGCLowThresholdPercent',
  'image-service-endpoint': 'imageServiceEndpoint',
  'kernel-memcg-notification': 'kernelMemcgNotification',
  'kube-api-burst': 'kubeAPIBurst',
  'kube-api-content-type': 'contentType',
  'kube-api-qps': 'kubeAPIQPS',
  'kube-reserved': 'kubeReserved',
  'kube-reserved-cgroup': 'kubeReservedCgroup',
  'kubelet-cgroups': 'kubeletCgroups',
  'local-storage-capacity-isolation': 'localStorageCapacityIsolation',
  'log-flush-frequency': 'logging.flushFrequency',
  'logging-format': 'logging.format',
  'make-iptables-util-chains': 'makeIPTablesUtilChains',
  'manifest-url': 'staticPodURL',
  'manifest-url-header': 'staticPodURLHeader',
  'max-open-files': 'maxOpenFiles',
  'max-pods': 'maxPods',
  'memory-manager-policy': 'memoryManagerPolicy',
  'minimum-image-ttl-duration': 'imageMinimumGCAge',
  'node-status-max-images': 'nodeStatusMaxImages',
  'node-status-update-frequency': 'nodeStatusUpdateFrequency',
  'oom-score-adj': 'oomScoreAdj',
  'pod-cidr': 'podCIDR',
  'pod-manifest-path': 'staticPodPath',
  'pod-max-pids': 'podPidsLimit',
  'pods-per-core': 'podsPerCore',
  port: 'port',
  'protect-kernel-defaults': 'protectKernelDefaults',
  'qos-reserved': 'qosReserved',
  'read-only-port': 'readOnlyPort',
  'register-node': 'registerNode',
  'register-with-taints': 'registerWithTaints',
  'registry-burst': 'registryBurst',
  'registry-qps': 'registryPullQPS',
  'reserved-cpus': 'reservedSystemCPUs',
  'reserved-memory': 'reservedMemory',
  'resolv-conf': 'resolvConf',
  'rotate-certificates': 'rotateCertificates',
  'rotate-server-certificates': 'serverTLSBootstrap',
  runonce: 'runOnce',
  'runtime-request-timeout': 'runtimeRequestTimeout',
  'seccomp-default': 'seccompDefault',
  'serialize-image-pulls': 'serializeImagePulls',
  'streaming-connection-idle-timeout': 'streamingConnectionIdleTimeout',
  'sync-frequency': 'syncFrequency',
  'system-cgroups': 'systemCgroups',
  'system-reserved': 'systemReserved',
  'system-reserved-cgroup': 'systemReservedCgroup',
  'tls-cert-file': 'tlsCertFile',
  'tls-cipher-suites': 'tlsCipherSuites',
  'tls-min-version': 'tlsMinVersion',
  'tls-private-key-file': 'tlsPrivateKeyFile',
  'topology-manager-policy': 'topologyManagerPolicy',
  'topology-manager-policy-options': 'topologyManagerPolicyOptions',
  'topology-manager-scope': 'topologyManagerScope',
  v: 'logging.verbosity',
  vmodule: 'logging.vmodule',
  'volume-plugin-dir': 'volumePluginDir',
  'volume-stats-agg-period': 'volumeStatsAggPeriod',
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
  'maximum-dead-containers',
  'maximum-dead-containers-per-container',
  'minimum-container-ttl-duration',
  'boot-id-file',
  'node-ip',
  'node-labels',
  'provider-id',
  'root-dir',
  'version',
]);

/** Removed from v1.36, but still in files that installers wrote: ignored with a warning. */
const removed = [
  'cni-bin-dir',
  'cni-cache-dir',
  'cni-conf-dir',
  'container-runtime',
  'docker-endpoint',
  'dynamic-config-dir',
  'image-pull-progress-deadline',
  'keep-terminated-pod-volumes',
  'master-service-namespace',
  'network-plugin',
  'network-plugin-mtu',
  'pod-infra-container-image',
  'register-schedulable',
  'really-crash-for-testing',
];

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
  ...flagFacts.map(({ name, type, default: fallback, deprecated }) => {
    const field = fieldOfFlag[name];
    const about = field === undefined ? '' : `sets ${field} of the configuration file`;
    return {
      name,
      type: typeOf(type),
      description: [
        about,
        deprecated === true ? 'deprecated' : '',
        fallback === undefined ? '' : `(default ${fallback})`,
      ]
        .filter((text) => text !== '')
        .join(' '),
    };
  }),
  ...removed.map((name) => ({ name, type: 'string' as const, description: 'removed, ignored' })),
];

/** Why flags are deprecated that are not fields of the configuration file, by the beginning of their names. */
const deprecations: [beginnings: string[], text: string][] = [
  [
    ['maximum-dead-containers', 'minimum-container-ttl-duration'],
    'Use --eviction-hard or --eviction-soft instead. Will be removed in a future version.',
  ],
  [['experimental-mounter-path'], 'will be removed in 1.25 or later. in favor of using CSI.'],
  [['experimental-allocatable-ignore-eviction'], 'will be removed in 1.25 or later.'],
  [
    [
      ...['application-metrics-count-limit', 'boot-id-file', 'container-hints', 'containerd', 'enable-load-reader'],
      ...['event-storage-', 'global-housekeeping-interval', 'log-cadvisor-usage', 'machine-id-file', 'storage-driver-'],
    ],
    'This is a cadvisor flag that was mistakenly registered with the Kubelet. Due to legacy concerns, it will follow the standard CLI deprecation timeline before being removed.',
  ],
];

const ofTheFile =
  "This parameter should be set via the config file specified by the Kubelet's --config flag. See https://kubernetes.io/docs/tasks/administer-cluster/kubelet-config-file/ for more information.";

/** What is said at start of deprecated flags among the given ones, in kubelet's words. */
export function warnOfDeprecated(given: readonly string[]): string[] {
  const old = flagFacts.filter(({ name, deprecated }) => deprecated === true && given.includes(name));
  return old.map(({ name }) => {
    const isField = fieldOfFlag[name] !== undefined;
    const found = deprecations.find(([names]) => !isField && names.some((beginning) => name.startsWith(beginning)));
    return `Flag --${name} has been deprecated, ${found?.[1] ?? ofTheFile}`;
  });
}

/** Why a given flag has no effect; undefined when it has one. */
export function whyIgnored(name: string): string | undefined {
  if (removed.includes(name)) return `flag --${name} has been removed from kubelet and is ignored`;
  if (fieldOfFlag[name] !== undefined || honoured.has(name)) return undefined;
  return `flag --${name} is accepted and has no effect`;
}
