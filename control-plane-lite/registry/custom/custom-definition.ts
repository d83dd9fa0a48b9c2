// What a custom resource definition adds to the resource table. Pure.
import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { DiscoveredResource, ServedResource, Subresource } from '../resource-table.ts';

export type Definition = KubeObject & CustomResourceDefinition;
export type DefinedVersion = CustomResourceDefinition['spec']['versions'][number];

export interface DefinedResource {
  groupVersion: string;
  version: DefinedVersion;
  served: ServedResource;
  discovered: DiscoveredResource[];
}

const objectVerbs = ['delete', 'deletecollection', 'get', 'list', 'patch', 'create', 'update', 'watch'];
const subresourceVerbs = ['get', 'patch', 'update'];

/** JSON paths are written with a leading dot, field selectors without. */
export function selectableFieldsOf(version: DefinedVersion): string[] {
  return (version.selectableFields ?? []).map(({ jsonPath }) => jsonPath.replace(/^\./, ''));
}

/** Scale is served where replicas are kept at the usual place. */
function hasUsualScale({ subresources }: DefinedVersion): boolean {
  const scale = subresources?.scale;
  return scale?.specReplicasPath === '.spec.replicas' && scale.statusReplicasPath === '.status.replicas';
}

/** Where objects of a definition are kept, as a stock API server keeps them. */
export function customStoragePrefix(definition: Definition): string {
  return `/registry/${definition.spec.group}/${definition.spec.names.plural}/`;
}

/** One entry for each version that is served. */
export function definedResources(definition: Definition): DefinedResource[] {
  const { group, names, scope, versions } = definition.spec;
  const storedVersion = versions.find(({ storage }) => storage)?.name ?? '';
  const resourceOf = (version: string): Resource => ({
    group,
    version,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    kind: names.kind,
    namespaced: scope === 'Namespaced',
  });
  return versions
    .filter((version) => version.served)
    .map((version) => {
      const resource = resourceOf(version.name);
      const groupVersion = `${group}/${version.name}`;
      const subresources = new Map<string, Subresource>();
      const own = { group, version: version.name, verbs: new Set(subresourceVerbs) };
      if (version.subresources?.status !== undefined)
        subresources.set('status', { name: 'status', kind: names.kind, ...own });
      if (hasUsualScale(version)) {
        subresources.set('scale', { ...own, name: 'scale', kind: 'Scale', group: 'autoscaling', version: 'v1' });
      }
      const entry: DiscoveredResource = {
        name: names.plural,
        singularName: resource.singular,
        namespaced: resource.namespaced,
        kind: names.kind,
        verbs: objectVerbs,
        ...(names.shortNames === undefined ? {} : { shortNames: names.shortNames }),
        ...(names.categories === undefined ? {} : { categories: names.categories }),
      };
      const subEntries = [...subresources.values()].map((sub) => ({
        name: `${names.plural}/${sub.name}`,
        singularName: '',
        namespaced: resource.namespaced,
        kind: sub.kind,
        verbs: subresourceVerbs,
        ...(sub.group === group ? {} : { group: sub.group, version: sub.version }),
      }));
      const served: ServedResource = {
        resource,
        apiVersion: groupVersion,
        verbs: new Set(objectVerbs),
        shortNames: names.shortNames ?? [],
        categories: names.categories ?? [],
        subresources,
        storagePrefix: customStoragePrefix(definition),
        stored: resourceOf(storedVersion),
        isCustom: true,
        selectableFields: selectableFieldsOf(version),
      };
      return { groupVersion, version, served, discovered: [entry, ...subEntries] };
    });
}
