// What an API server serves: the preferred version of every resource, with what can be done to it.
import type { APIGroupList, APIResourceList } from '../api/generated/meta-v1.ts';
import type { Resource } from '../api/resource.ts';
import type { ApiClient, CallOptions } from './types.ts';

/** A resource found by discovery. Subresources are left out. */
export interface DiscoveredResource extends Resource {
  readonly verbs: readonly string[];
}

export interface Discovery {
  resources: DiscoveredResource[];
  /** Group versions whose documents could not be read (an aggregated server that is down). */
  failures: { groupVersion: string; error: unknown }[];
}

/** The aggregated form: everything in two documents. */
interface GroupDiscoveryList {
  kind?: string;
  items?: {
    metadata?: { name?: string };
    versions?: {
      version: string;
      freshness?: string;
      resources?: {
        resource: string;
        singularResource?: string;
        scope: string;
        verbs: string[];
        responseKind?: { kind?: string };
      }[];
    }[];
  }[];
}

const aggregatedAccept = 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;q=0.9';

function isAggregated(document: unknown): document is GroupDiscoveryList {
  return (
    typeof document === 'object' && document !== null && 'kind' in document && document.kind === 'APIGroupDiscoveryList'
  );
}

function readAggregated(document: GroupDiscoveryList): Discovery {
  const discovery: Discovery = { resources: [], failures: [] };
  for (const { metadata, versions } of document.items ?? []) {
    const group = metadata?.name ?? '';
    const preferred = versions?.[0];
    if (preferred === undefined) continue;
    const { version, freshness, resources = [] } = preferred;
    if (freshness === 'Stale') {
      const groupVersion = group === '' ? version : `${group}/${version}`;
      discovery.failures.push({ groupVersion, error: new Error('the server that serves it does not answer') });
    }
    for (const { resource, singularResource = '', scope, verbs, responseKind } of resources) {
      const kind = responseKind?.kind ?? '';
      const namespaced = scope === 'Namespaced';
      discovery.resources.push({
        group,
        version,
        plural: resource,
        singular: singularResource,
        kind,
        namespaced,
        verbs,
      });
    }
  }
  return discovery;
}

/** The older form: one document for each group version. */
async function readEach(client: ApiClient, groups: APIGroupList, options: CallOptions): Promise<Discovery> {
  const versions = [
    { path: '/api/v1', groupVersion: 'v1', group: '', version: 'v1' },
    ...groups.groups.flatMap(({ name, preferredVersion, versions: served }) => {
      const preferred = preferredVersion ?? served[0];
      if (preferred === undefined) return [];
      const { groupVersion, version } = preferred;
      return [{ path: `/apis/${groupVersion}`, groupVersion, group: name, version }];
    }),
  ];
  const discovery: Discovery = { resources: [], failures: [] };
  const found = await Promise.all(
    versions.map(async ({ path, groupVersion, group, version }) => {
      try {
        const list = await client.raw<APIResourceList>({ method: 'GET', path, ...options });
        return list.resources
          .filter(({ name }) => !name.includes('/'))
          .map(({ name, singularName, kind, namespaced, verbs }): DiscoveredResource => {
            return { group, version, plural: name, singular: singularName, kind, namespaced, verbs };
          });
      } catch (error) {
        discovery.failures.push({ groupVersion, error });
        return [];
      }
    }),
  );
  discovery.resources = found.flat();
  return discovery;
}

/** Reads the discovery documents. Throws only when the list of groups itself cannot be read. */
export async function discoverResources(client: ApiClient, options: CallOptions = {}): Promise<Discovery> {
  const headers = { accept: aggregatedAccept };
  const [core, groups] = await Promise.all(
    ['/api', '/apis'].map(async (path) => client.raw<unknown>({ method: 'GET', path, headers, ...options })),
  );
  if (isAggregated(core) && isAggregated(groups)) {
    const [first, second] = [readAggregated(core), readAggregated(groups)];
    return {
      resources: [...first.resources, ...second.resources],
      failures: [...first.failures, ...second.failures],
    };
  }
  return readEach(client, groups as APIGroupList, options);
}
