// The APIs that other servers serve, from APIServices that name a service; kept until one of them changes.
import type { APIService } from '#kube/api/generated/apiregistration-v1.ts';
import { apiservices } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Registry } from '../../registry/registry.ts';

export interface RemoteApi {
  /** Of the APIService. */
  name: string;
  group: string;
  version: string;
  groupVersion: string;
  service: { namespace: string; name: string; port: number };
  /** Verifies the server; undefined: it is not verified, because the APIService says so. */
  caPem: string | undefined;
  isInsecure: boolean;
  groupPriority: number;
  versionPriority: number;
  isAvailable: boolean;
}

/** The remote API of an APIService; undefined for one of this server's own. */
export function remoteApiOf({ metadata, spec, status }: KubeObject & APIService): RemoteApi | undefined {
  const {
    service,
    group = '',
    version = '',
    caBundle,
    insecureSkipTLSVerify,
    groupPriorityMinimum,
    versionPriority,
  } = spec;
  if (service === undefined || service === null) return undefined;
  const hasBundle = caBundle !== undefined && caBundle !== '';
  return {
    name: metadata.name,
    group,
    version,
    groupVersion: `${group}/${version}`,
    service: { namespace: service.namespace ?? '', name: service.name ?? '', port: service.port ?? 443 },
    caPem: hasBundle ? Buffer.from(caBundle, 'base64').toString() : undefined,
    isInsecure: insecureSkipTLSVerify === true,
    groupPriority: groupPriorityMinimum,
    versionPriority,
    isAvailable: (status?.conditions ?? []).some(({ type, status: is }) => type === 'Available' && is === 'True'),
  };
}

/** The most important group first, within a group the most important version. */
export function byPriority(a: RemoteApi, b: RemoteApi): number {
  return (
    b.groupPriority - a.groupPriority ||
    (a.group < b.group ? -1 : a.group > b.group ? 1 : 0) ||
    b.versionPriority - a.versionPriority ||
    (a.version < b.version ? -1 : 1)
  );
}

/** Answers with the remote APIs as they are now. */
export function followRemoteApis({
  cache,
  table,
  objects,
}: Pick<Registry, 'cache' | 'table' | 'objects'>): () => readonly RemoteApi[] {
  let known: readonly RemoteApi[] | undefined;
  cache.onChange(table.get(apiservices).storagePrefix, () => {
    known = undefined;
  });
  return () => {
    known ??= objects
      .list(apiservices)
      .flatMap((each) => remoteApiOf(each) ?? [])
      .sort(byPriority);
    return known;
  };
}
