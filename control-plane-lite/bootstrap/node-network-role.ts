// What proxies may read when they make the network between pods: an addition of berth.
import type { KubeObject } from '#kube/api/resource.ts';

const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1' };

/** Lets proxies make the network between pods and enforce policies on it. */
export function nodeNetworkRole(): KubeObject[] {
  const name = 'berth:node-network';
  const verbs = ['list', 'watch'];
  const rules = [
    { apiGroups: [''], resources: ['nodes', 'pods', 'namespaces'], verbs },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs },
  ];
  const binding = {
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:kube-proxy' }],
  };
  return [
    { ...rbac, kind: 'ClusterRole', metadata: { name }, rules } as KubeObject,
    { ...rbac, kind: 'ClusterRoleBinding', metadata: { name }, ...binding } as KubeObject,
  ];
}
