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
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';

/** How to reach the cluster, and whom to trust there. */
export interface ClusterIdentity {
  server: string;
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
  return { server, caPem };
}

/** Discovers by a kubeconfig that was brought here by hand. */
export function discoverByFile(path: string): ClusterIdentity {
  const cluster = readKubeconfig(path).clusters[0]?.cluster;
  if (cluster === undefined) throw new UsageError(`${path} names no cluster`);
  const data = cluster['certificate-authority-data'];
  const file = cluster['certificate-authority'];
  const caPem = data === undefined ? file && readFileSync(file, 'utf8') : Buffer.from(data, 'base64').toString('utf8');
  if (caPem === undefined || caPem === '') throw new UsageError(`${path} names no authority`);
  return { server: cluster.server, caPem };
}
