// `berth token create`: a bootstrap token, what a new node may do with it, and the line that joins a node. Works on any
// Kubernetes cluster by the rights of the kubeconfig.
import { randomInt } from 'node:crypto';
import { stringify } from 'yaml';
import type { ConfigMap } from '#kube/api/generated/core-v1.ts';
import {
  clusterrolebindings,
  clusterroles,
  configmaps,
  rolebindings,
  roles,
  secrets,
} from '#kube/api/generated/resources.ts';
import { formatTime } from '#kube/api/time.ts';
import { clusterInfoName, clusterInfoNamespace, publicKeyPin } from '#kube/bootstrap/cluster-info.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';

const nodeTokens = 'system:bootstrappers:kubeadm:default-node-token';
const alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789';
const rbac = 'rbac.authorization.k8s.io';

/** ClusterRoles that nodes need, by the binding's name: kubeadm's names where it has them. */
const bindings: Record<string, { role: string; group: string }> = {
  'kubeadm:kubelet-bootstrap': { role: 'system:node-bootstrapper', group: nodeTokens },
  'kubeadm:node-autoapprove-bootstrap': {
    role: 'system:certificates.k8s.io:certificatesigningrequests:nodeclient',
    group: nodeTokens,
  },
  'kubeadm:node-autoapprove-certificate-rotation': {
    role: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
    group: 'system:nodes',
  },
  // The proxy of a joined node speaks with the node's own credentials.
  'berth:node-proxier': { role: 'system:node-proxier', group: 'system:nodes' },
};

const randomText = (length: number) => Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join('');

async function ensure(create: () => Promise<unknown>): Promise<void> {
  await create().catch((error: unknown) => {
    if (!isAlreadyExists(error)) throw error;
  });
}

async function ensureRights(client: ApiClient): Promise<void> {
  for (const [name, { role, group }] of Object.entries(bindings)) {
    const subjects = [{ apiGroup: rbac, kind: 'Group', name: group }];
    const roleRef = { apiGroup: rbac, kind: 'ClusterRole', name: role };
    await ensure(() => client.create(clusterrolebindings, undefined, { metadata: { name }, roleRef, subjects }));
  }
  // Before it trusts anybody, a new machine reads cluster-info without saying who it is.
  const name = 'kubeadm:bootstrap-signer-clusterinfo';
  const namespace = clusterInfoNamespace;
  await ensure(() =>
    client.create(roles, namespace, {
      metadata: { name, namespace },
      rules: [{ apiGroups: [''], resources: ['configmaps'], resourceNames: [clusterInfoName], verbs: ['get'] }],
    }),
  );
  await ensure(() =>
    client.create(rolebindings, namespace, {
      metadata: { name, namespace },
      roleRef: { apiGroup: rbac, kind: 'Role', name },
      subjects: [{ apiGroup: rbac, kind: 'User', name: 'system:anonymous' }],
    }),
  );
}

async function ensureClusterInfo(client: ApiClient, server: string, caPem: string): Promise<ConfigMap> {
  const key = { namespace: clusterInfoNamespace, name: clusterInfoName };
  try {
    return await client.get(configmaps, key);
  } catch (error) {
    if (!isNotFound(error)) throw error;
  }
  const cluster = { server, 'certificate-authority-data': Buffer.from(caPem).toString('base64') };
  const kubeconfig = { apiVersion: 'v1', kind: 'Config', clusters: [{ name: '', cluster }], contexts: [], users: [] };
  return client.create(configmaps, clusterInfoNamespace, {
    metadata: key,
    data: { kubeconfig: stringify(kubeconfig, { lineWidth: 0 }) },
  });
}

export interface CreatedToken {
  token: string;
  /** Of the cluster's authority. */
  pin: string;
}

/** Creates the token. `ttlMs` 0: it does not end. */
export async function createToken(
  client: ApiClient,
  cluster: { server: string; caPem: string },
  options: { ttlMs: number; nowMs: number },
): Promise<CreatedToken> {
  await client.get(clusterroles, { name: 'system:node-bootstrapper' });
  await ensureRights(client);
  await ensureClusterInfo(client, cluster.server, cluster.caPem);
  const id = randomText(6);
  const secret = randomText(16);
  await client.create(secrets, 'kube-system', {
    metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
    type: 'bootstrap.kubernetes.io/token',
    stringData: {
      'token-id': id,
      'token-secret': secret,
      'usage-bootstrap-authentication': 'true',
      'usage-bootstrap-signing': 'true',
      'auth-extra-groups': nodeTokens,
      ...(options.ttlMs === 0 ? {} : { expiration: formatTime(options.nowMs + options.ttlMs) }),
    },
  });
  return { token: `${id}.${secret}`, pin: publicKeyPin(cluster.caPem) };
}
