// What proxies may read when they make the network between pods: an addition of berth.
import type { KubeObject } from '#kube/api/resource.ts';

const rbac = { apiVersion: 'rbac.authorization.k8s.io/v1' };
const name = 'berth:node-network';
const verbs = ['list', 'watch'];

/** Lets nobody do anything before it is bound. */
export const nodeNetworkRole = {
  ...rbac,
  kind: 'ClusterRole',
  metadata: { name },
  rules: [
    { apiGroups: [''], resources: ['nodes', 'pods', 'namespaces'], verbs },
    { apiGroups: ['networking.k8s.io'], resources: ['networkpolicies'], verbs },
  ],
} as KubeObject;

/** Lets proxies make the network between pods and enforce policies on it. */
export const nodeNetworkBinding = {
  ...rbac,
  kind: 'ClusterRoleBinding',
  metadata: { name },
  roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name },
  subjects: [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'system:kube-proxy' }],
} as KubeObject;
