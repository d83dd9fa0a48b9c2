// The scale of whatever autoscalers and owner references point at: built-in or custom, found by its kind in discovery.

import type { Scale } from '#kube/api/generated/autoscaling-v1.ts';
import type { Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';

export interface KindReference {
  apiVersion?: string | undefined;
  kind: string;
}

export interface ScaleFinder {
  /** The resource of a kind. Throws when there is none. */
  resourceOf(reference: KindReference): Promise<Resource>;
  get(resource: Resource, namespace: string, name: string): Promise<Scale>;
}

interface Listed {
  resources?: { name: string; singularName: string; kind: string; namespaced: boolean }[];
}

/** Kinds come and go with custom resources. */
const rememberedMs = 60_000;

export function createScaleFinder(client: Pick<ApiClient, 'raw'>, clock: Pick<Clock, 'monotonicMs'>): ScaleFinder {
  const known = new Map<string, { resource: Resource; atMs: number }>();
  return {
    async resourceOf({ apiVersion = 'v1', kind }) {
      const key = `${apiVersion}/${kind}`;
      const remembered = known.get(key);
      if (remembered !== undefined && clock.monotonicMs() - remembered.atMs < rememberedMs) return remembered.resource;
      const [first = '', second] = apiVersion.split('/');
      const [group, version] = second === undefined ? ['', first] : [first, second];
      const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
      const { resources = [] } = await client.raw<Listed>({ method: 'GET', path: base }).catch((error: unknown) => {
        throw new Error(`no matches for kind ${JSON.stringify(kind)} in group ${JSON.stringify(group)}`, {
          cause: error,
        });
      });
      const found = resources.find((each) => each.kind === kind && !each.name.includes('/'));
      if (found === undefined)
        throw new Error(`no matches for kind ${JSON.stringify(kind)} in group ${JSON.stringify(group)}`);
      const { name: plural, singularName: singular, namespaced } = found;
      const resource: Resource = { group, version, plural, singular, kind, namespaced };
      known.set(key, { resource, atMs: clock.monotonicMs() });
      return resource;
    },
    async get({ group, version, plural }, namespace, name) {
      const base = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
      const path = `${base}/namespaces/${namespace}/${plural}/${encodeURIComponent(name)}/scale`;
      return await client.raw<Scale>({ method: 'GET', path });
    },
  };
}
