// The API servers of a kubeconfig's cluster. Its format has room for one address; others of the same cluster stand in an
// extension of the cluster, which programs that do not know it pass over.
import { ClientConfigError } from './config.ts';
import type { KubeconfigCluster } from './kubeconfig-types.ts';

/** Name of the extension; its content is `{servers: [URL, ...]}`. */
export const otherServersExtension = 'berth-other-servers';

/** All addresses, in the order in which they are tried. Throws ClientConfigError for an extension that is not one. */
export function serversOf(cluster: KubeconfigCluster): string[] {
  const found = (cluster.extensions ?? []).find(({ name }) => name === otherServersExtension);
  if (found === undefined) return [cluster.server];
  const { servers } = (found.extension ?? {}) as { servers?: unknown };
  if (!Array.isArray(servers) || !servers.every((server) => typeof server === 'string')) {
    throw new ClientConfigError(`the extension ${otherServersExtension} of a cluster must have a list of servers`);
  }
  return [...new Set([cluster.server, ...servers])];
}

/** The fields of a cluster with these servers, the first one being its `server`. */
export function clusterWithServers([first = '', ...others]: readonly string[]): Pick<
  KubeconfigCluster,
  'server' | 'extensions'
> {
  if (others.length === 0) return { server: first };
  return { server: first, extensions: [{ name: otherServersExtension, extension: { servers: others } }] };
}
