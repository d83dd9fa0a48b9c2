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

/** Reads the discovery documents. Throws only when the list of groups itself cannot be read. */
export async function discoverResources(client: ApiClient, options: CallOptions = {}): Promise<Discovery> {
  const groups = await client.raw<APIGroupList>({ method: 'GET', path: '/apis', ...options });
  const versions = [
    { path: '/api/v1', groupVersion: 'v1', group: '', version: 'v1' },
    ...groups.groups.flatMap(({ name, preferredVersion, versions }) => {
      const preferred = preferredVersion ?? versions[0];
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
