// The fields of KubeSchedulerConfiguration (kubescheduler.config.k8s.io/v1) and of the arguments of its plugins.
import type { ConfigShape } from '#kube/process/config-file.ts';

const pluginSet: ConfigShape = {
  enabled: [{ name: 'string', weight: 'number' }],
  disabled: [{ name: 'string', weight: 'number' }],
};

/** Points at which plugins are switched on and off one by one. */
export const extensionPoints = [
  'preEnqueue',
  'queueSort',
  'preFilter',
  'filter',
  'postFilter',
  'preScore',
  'score',
  'reserve',
  'permit',
  'preBind',
  'bind',
  'postBind',
  'multiPoint',
] as const;

const resources: ConfigShape = [{ name: 'string', weight: 'number' }];
const shape: ConfigShape = [{ utilization: 'number', score: 'number' }];

/** By the plugin's name. */
export const argShapes: Readonly<Record<string, { [field: string]: ConfigShape }>> = {
  DefaultPreemption: { minCandidateNodesPercentage: 'number', minCandidateNodesAbsolute: 'number' },
  DynamicResources: { filterTimeout: 'duration', bindingTimeout: 'duration' },
  InterPodAffinity: { hardPodAffinityWeight: 'number', ignorePreferredTermsOfExistingPods: 'boolean' },
  NodeAffinity: { addedAffinity: 'any' },
  NodeResourcesBalancedAllocation: { resources },
  NodeResourcesFit: {
    ignoredResources: 'stringList',
    ignoredResourceGroups: 'stringList',
    scoringStrategy: { type: 'string', resources, requestedToCapacityRatio: { shape } },
  },
  PodTopologySpread: { defaultConstraints: 'any', defaultingType: 'string' },
  VolumeBinding: { bindTimeoutSeconds: 'number', shape },
};

export const schedulerConfigShape: { [field: string]: ConfigShape } = {
  parallelism: 'number',
  leaderElection: {
    leaderElect: 'boolean',
    leaseDuration: 'duration',
    renewDeadline: 'duration',
    retryPeriod: 'duration',
    resourceLock: 'string',
    resourceName: 'string',
    resourceNamespace: 'string',
  },
  clientConnection: {
    kubeconfig: 'string',
    acceptContentTypes: 'string',
    contentType: 'string',
    qps: 'number',
    burst: 'number',
  },
  enableProfiling: 'boolean',
  enableContentionProfiling: 'boolean',
  percentageOfNodesToScore: 'number',
  podInitialBackoffSeconds: 'number',
  podMaxBackoffSeconds: 'number',
  delayCacheUntilActive: 'boolean',
  extenders: 'any',
  profiles: [
    {
      schedulerName: 'string',
      percentageOfNodesToScore: 'number',
      plugins: Object.fromEntries(extensionPoints.map((point) => [point, pluginSet])),
      pluginConfig: [{ name: 'string', args: 'any' }],
    },
  ],
};
