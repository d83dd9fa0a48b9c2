// The FlowSchemas and PriorityLevelConfigurations that are always there and always the same: requests of administrators,
// and all that nothing else takes (k8s.io/apiserver: apis/flowcontrol/bootstrap).
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/generated/flowcontrol-v1.ts';

const apiVersion = 'flowcontrol.apiserver.k8s.io/v1';

function schema(name: string, matchingPrecedence: number, groups: readonly string[], byUser: boolean): FlowSchema {
  return {
    apiVersion,
    kind: 'FlowSchema',
    metadata: { name },
    spec: {
      matchingPrecedence,
      priorityLevelConfiguration: { name },
      ...(byUser ? { distinguisherMethod: { type: 'ByUser' } } : {}),
      rules: [
        {
          subjects: groups.map((group) => ({ kind: 'Group', group: { name: group } })),
          resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'], clusterScope: true, namespaces: ['*'] }],
          nonResourceRules: [{ verbs: ['*'], nonResourceURLs: ['*'] }],
        },
      ],
    },
  };
}

export const mandatoryFlowSchemas: readonly FlowSchema[] = [
  schema('exempt', 1, ['system:masters'], false),
  schema('catch-all', 10_000, ['system:unauthenticated', 'system:authenticated'], true),
];

export const mandatoryPriorityLevels: readonly PriorityLevelConfiguration[] = [
  {
    apiVersion,
    kind: 'PriorityLevelConfiguration',
    metadata: { name: 'exempt' },
    spec: { type: 'Exempt', exempt: { nominalConcurrencyShares: 0, lendablePercent: 0 } },
  },
  {
    apiVersion,
    kind: 'PriorityLevelConfiguration',
    metadata: { name: 'catch-all' },
    spec: {
      type: 'Limited',
      limited: { nominalConcurrencyShares: 5, lendablePercent: 0, limitResponse: { type: 'Reject' } },
    },
  },
];
