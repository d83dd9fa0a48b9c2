// Whom a new node may trust: the cluster-info of a server nobody knows yet, proved by the token's signature and the pin
// of the authority; then the same again over a connection that the authority vouches for.
import { readFileSync } from 'node:fs';
import type { ConfigMap } from '#kube/api/generated/core-v1.ts';
import {
  type BootstrapToken,
  clusterInfoName,
  clusterInfoNamespace,
  isSignedBy,
  publicKeyPin,
  signatureKey,
} from '#kube/bootstrap/cluster-info.ts';
import { createClient } from '#kube/client/create-client.ts';
import { readKubeconfig } from '#kube/client/kubeconfig.ts';
import { serversOf } from '#kube/client/kubeconfig-servers.ts';
import type { KubeconfigCluster } from '#kube/client/kubeconfig-types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';

/** How to reach the cluster, and whom to trust there. */
export interface ClusterIdentity {
  /** In the order in which they are tried. */
  servers: string[];
  caPem: string;
}

interface ClusterFields {
  clusters?: { cluster?: { server?: unknown; 'certificate-authority-data'?: unknown } }[];
}

/** The authority in a kubeconfig. Throws UsageError when there is none. */
function authorityOf(kubeconfig: string): string {
  const { clusters } = (parseYaml(kubeconfig) ?? {}) as ClusterFields;
  const data = clusters?.[0]?.cluster?.['certificate-authority-data'];
  if (typeof data !== 'string') throw new UsageError('cluster-info names no authority: it cannot be trusted');
  return Buffer.from(data, 'base64').toString('utf8');
}

function authorityOfCluster(cluster: KubeconfigCluster): string | undefined {
  const data = cluster['certificate-authority-data'];
  const file = cluster['certificate-authority'];
  return data === undefined ? file && readFileSync(file, 'utf8') : Buffer.from(data, 'base64').toString('utf8');
}

async function readClusterInfo(
  server: string,
  caPem: string | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<ConfigMap> {
  const trust = caPem === undefined ? { insecureSkipTlsVerify: true } : { caPem };
  const client = createClient({ servers: [server], ...trust, name: 'join', clock });
  try {
    const path = `/api/v1/namespaces/${clusterInfoNamespace}/configmaps/${clusterInfoName}`;
    return await client.raw<ConfigMap>({ method: 'GET', path, signal });
  } finally {
    await client.close();
  }
}

/**
 * Discovers by token. `pins` are `sha256:HEX` of authorities; none are needed with `skipPins`. Throws UsageError when
 * the server cannot prove that it knows the token, or is not the one that was pinned.
 */
export async function discoverByToken(
  server: string,
  token: BootstrapToken,
  trust: { pins: readonly string[]; skipPins: boolean },
  clock: Clock,
  signal: AbortSignal,
): Promise<ClusterIdentity> {
  if (trust.pins.length === 0 && !trust.skipPins) {
    throw new UsageError('--discovery-token-ca-cert-hash is needed: without it any server could pose as the cluster');
  }
  const { data = {} } = await readClusterInfo(server, undefined, clock, signal);
  const { kubeconfig } = data;
  const signature = data[signatureKey(token.id)];
  if (kubeconfig === undefined || signature === undefined) {
    throw new UsageError(
      `${server} has no cluster-info for token ${token.id}: has the token expired? make one with berth token create`,
    );
  }
  if (!isSignedBy(kubeconfig, token, signature)) {
    throw new UsageError(`${server} does not know token ${token.id}: its signature is wrong`);
  }
  const caPem = authorityOf(kubeconfig);
  const pin = publicKeyPin(caPem);
  if (!trust.skipPins && !trust.pins.includes(pin)) {
    throw new UsageError(`the authority of ${server} is ${pin}, which is none of the given hashes`);
  }
  const again = await readClusterInfo(server, caPem, clock, signal);
  if (again.data?.['kubeconfig'] !== kubeconfig)
    throw new UsageError(`${server} answers differently over a trusted connection`);
  return { servers: [server], caPem };
}

/**
 * Discovers by token from the first of several servers that can be reached. The others are tried in their order when it
 * cannot be: they have to show a certificate of the same authority then. Throws UsageError as `discoverByToken`, or what
 * kept it from the last server.
 */
export async function discoverAmong(
  servers: readonly string[],
  discover: (server: string) => Promise<ClusterIdentity>,
): Promise<ClusterIdentity> {
  for (const [at, server] of servers.entries()) {
    try {
      const { caPem } = await discover(server);
      return { servers: [server, ...servers.filter((other) => other !== server)], caPem };
    } catch (error) {
      // Whoever answers and cannot prove itself is no server to pass over.
      if (error instanceof UsageError || at === servers.length - 1) throw error;
    }
  }
  throw new UsageError('the address of an API server is needed');
}

/**
 * Discovers by a kubeconfig that was brought here by hand: all servers of its current cluster, and of its other clusters
 * that have the same authority.
 */
export function discoverByFile(path: string): ClusterIdentity {
  const { clusters, contexts, 'current-context': current } = readKubeconfig(path);
  const wanted = contexts.find(({ name }) => name === current)?.context?.cluster;
  const cluster = (clusters.find(({ name }) => name === wanted) ?? clusters[0])?.cluster;
  if (cluster === undefined) throw new UsageError(`${path} names no cluster`);
  const caPem = authorityOfCluster(cluster);
  if (caPem === undefined || caPem === '') throw new UsageError(`${path} names no authority`);
  const same = clusters.filter((other) => authorityOfCluster(other.cluster) === caPem);
  return { servers: [...new Set([cluster, ...same.map((other) => other.cluster)].flatMap(serversOf))], caPem };
}

/** The bootstrap token in such a kubeconfig: that of its current user. Undefined where it has none. */
export function tokenInFile(path: string): string | undefined {
  const { users, contexts, 'current-context': current } = readKubeconfig(path);
  const wanted = contexts.find(({ name }) => name === current)?.context?.user;
  return users.find(({ name }) => name === wanted)?.user?.token;
}
