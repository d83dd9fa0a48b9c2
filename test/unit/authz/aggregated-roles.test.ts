// Cluster roles that are made of others.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { computeAggregatedRules } from '../../../control-plane-lite/authz/rbac/aggregated-roles.ts';

const role = (name: string, labels: Record<string, string>, resources: string[]) => ({
  apiVersion: 'rbac.authorization.k8s.io/v1',
  kind: 'ClusterRole',
  metadata: { name, labels },
  rules: resources.map((resource) => ({ apiGroups: [''], resources: [resource], verbs: ['get'] })),
});

it('aggregates the rules of the selected roles, each once, and not its own', () => {
  const aggregate = {
    ...role('all', { pick: 'yes' }, ['nodes']),
    aggregationRule: { clusterRoleSelectors: [{ matchLabels: { pick: 'yes' } }, { matchLabels: { also: 'yes' } }] },
  };
  const roles = [
    aggregate,
    role('a', { pick: 'yes' }, ['pods']),
    role('b', { also: 'yes' }, ['pods', 'secrets']),
    role('c', { pick: 'no' }, ['events']),
  ];
  assert.deepEqual(
    computeAggregatedRules(aggregate, roles).map(({ resources }) => resources?.[0]),
    ['pods', 'secrets'],
  );
});
