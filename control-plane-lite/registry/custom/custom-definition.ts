// What a custom resource definition adds to the resource table. Pure.
import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { DiscoveredResource, ServedResource, Subresource } from '../resource-table.ts';
import type { CustomView } from '../shown-entries.ts';
import { parseFieldPath, type ScalePaths } from './scale-paths.ts';

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

function scalePathsOf({ subresources }: DefinedVersion): ScalePaths | undefined {
  const scale = subresources?.scale;
  if (scale === undefined || scale === null) return undefined;
  const { specReplicasPath, statusReplicasPath, labelSelectorPath } = scale;
  return {
    specReplicas: parseFieldPath(specReplicasPath),
    statusReplicas: parseFieldPath(statusReplicasPath),
    labelSelector: labelSelectorPath === undefined ? undefined : parseFieldPath(labelSelectorPath),
  };
}

function deprecationOf({ group, names }: Definition['spec'], version: DefinedVersion): string | undefined {
  if (version.deprecated !== true) return undefined;
  return version.deprecationWarning ?? `${group}/${version.name} ${names.kind} is deprecated`;
}

/** Where objects of a definition are kept, as a stock API server keeps them. */
export function customStoragePrefix(definition: Definition): string {
  return `/registry/${definition.spec.group}/${definition.spec.names.plural}/`;
}

/** One entry for each version, served or not. `view` says how it shows what is stored. */
export function definedResources(
  definition: Definition,
  view: (version: DefinedVersion) => CustomView | undefined = () => undefined,
): DefinedResource[] {
  const { group, names, scope, versions } = definition.spec;
  const resourceOf = (version: string): Resource => ({
    group,
    version,
    plural: names.plural,
    singular: names.singular ?? names.kind.toLowerCase(),
    kind: names.kind,
    namespaced: scope === 'Namespaced',
  });
  return versions.map((version) => {
    const resource = resourceOf(version.name);
    const groupVersion = `${group}/${version.name}`;
    const subresources = new Map<string, Subresource>();
    const own = { group, version: version.name, verbs: new Set(subresourceVerbs) };
    if (version.subresources?.status !== undefined)
      subresources.set('status', { name: 'status', kind: names.kind, ...own });
    const scalePaths = scalePathsOf(version);
    const deprecationWarning = deprecationOf(definition.spec, version);
    const shown = view(version);
    if (scalePaths !== undefined) {
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
      stored: resource,
      isCustom: true,
      selectableFields: selectableFieldsOf(version),
      ...(scalePaths === undefined ? {} : { scalePaths }),
      ...(deprecationWarning === undefined ? {} : { deprecationWarning }),
      ...(shown === undefined ? {} : { view: shown }),
    };
    return { groupVersion, version, served, discovered: [entry, ...subEntries] };
  });
}
