// The one table of resources that the API server serves: names, verbs, subresources, and where objects are stored.
import { readFileSync } from 'node:fs';
import { apiVersionOf, type Resource } from '#kube/api/resource.ts';
import type { ScalePaths } from './custom/scale-paths.ts';
import type { CustomView } from './shown-entries.ts';
import { storagePrefixOf } from './storage-prefix.ts';

/** An entry of the discovery document of a group version. */
export interface DiscoveredResource {
  name: string;
  singularName: string;
  namespaced: boolean;
  kind: string;
  verbs: string[];
  group?: string;
  version?: string;
  shortNames?: string[];
  categories?: string[];
}

export interface Subresource {
  name: string;
  kind: string;
  group: string;
  version: string;
  verbs: ReadonlySet<string>;
}

/** One resource as served in one version. */
export interface ServedResource {
  resource: Resource;
  apiVersion: string;
  verbs: ReadonlySet<string>;
  shortNames: readonly string[];
  categories: readonly string[];
  subresources: ReadonlyMap<string, Subresource>;
  /** Objects live below this key; empty for resources that are only computed. */
  storagePrefix: string;
  /** The version that is stored: another one where two versions show the same objects. */
  stored: Resource;
  /** Defined by a custom resource definition. */
  isCustom?: boolean;
  /** Fields that selectors may name, for custom resources: `spec.color`. */
  selectableFields?: readonly string[];
  /** Where a custom resource's version is not simply what is stored. */
  view?: CustomView;
  /** Told to whoever uses this version of a custom resource. */
  deprecationWarning?: string;
  /** The paths of a custom resource's scale. */
  scalePaths?: ScalePaths;
}

/** The resources that custom resource definitions add: discovery entries and served resources by group version. */
export type CustomResources = ReadonlyMap<string, { discovered: DiscoveredResource[]; served: ServedResource[] }>;

/** What aggregated API servers say that they serve, by group version. */
export type RemoteResources = ReadonlyMap<string, DiscoveredResource[]>;

export interface ResourceTable {
  /** Group versions in the order of discovery. */
  readonly groupVersions: readonly string[];
  readonly discovery: Readonly<Record<string, DiscoveredResource[]>>;
  readonly all: readonly ServedResource[];
  /** Counts the changes of the custom part: documents made from the table are made anew when it moves on. */
  readonly generation: number;
  /** Replaces the custom part. */
  setCustom(custom: CustomResources): void;
  /** Replaces what other servers serve: discovery entries by group version, the most important first. */
  setRemote(remote: RemoteResources): void;
  find(group: string, version: string, plural: string): ServedResource | undefined;
  /** Whether resources of the group are served, those of custom resource definitions aside. */
  isBuiltInGroup(group: string): boolean;
  /** The served resource of a kind in a version. */
  findKind(apiVersion: string, kind: string): ServedResource | undefined;
  /** Throws for a resource that is not served: for those the server itself relies on. */
  get(resource: Resource): ServedResource;
}

// Two versions of the same objects: the key is shown from the value's objects.
const storedElsewhere: Record<string, Pick<Resource, 'group' | 'version'>> = {
  'events.k8s.io/v1/events': { group: '', version: 'v1' },
  'autoscaling/v1/horizontalpodautoscalers': { group: 'autoscaling', version: 'v2' },
};

function splitGroupVersion(groupVersion: string): { group: string; version: string } {
  const cut = groupVersion.lastIndexOf('/');
  return { group: cut < 0 ? '' : groupVersion.slice(0, cut), version: groupVersion.slice(cut + 1) };
}

function serve(groupVersion: string, entry: DiscoveredResource, entries: DiscoveredResource[]): ServedResource {
  const { group, version } = splitGroupVersion(groupVersion);
  const resource: Resource = {
    group,
    version,
    plural: entry.name,
    singular: entry.singularName,
    kind: entry.kind,
    namespaced: entry.namespaced,
  };
  const subresources = entries
    .filter(({ name }) => name.startsWith(`${entry.name}/`))
    .map((sub): [string, Subresource] => {
      const name = sub.name.slice(entry.name.length + 1);
      const own = { group: sub.group ?? group, version: sub.version ?? version };
      return [name, { name, kind: sub.kind, ...own, verbs: new Set(sub.verbs) }];
    });
  const stored = { ...resource, ...storedElsewhere[`${groupVersion}/${entry.name}`] };
  return {
    resource,
    apiVersion: apiVersionOf(resource),
    verbs: new Set(entry.verbs),
    shortNames: entry.shortNames ?? [],
    categories: entry.categories ?? [],
    subresources: new Map(subresources),
    storagePrefix: entry.verbs.includes('watch') ? storagePrefixOf(stored) : '',
    stored,
  };
}

/** Builds the table from discovery documents by group version. */
export function buildResourceTable(builtIn: Record<string, DiscoveredResource[]>): ResourceTable {
  const fixed = Object.entries(builtIn).flatMap(([groupVersion, entries]) =>
    entries.filter(({ name }) => !name.includes('/')).map((entry) => serve(groupVersion, entry, entries)),
  );
  const groups = new Set(fixed.map(({ resource }) => resource.group));
  let all: readonly ServedResource[] = fixed;
  let discovery: Record<string, DiscoveredResource[]> = builtIn;
  let added: Record<string, DiscoveredResource[]> = {};
  let remoteAdded: Record<string, DiscoveredResource[]> = {};
  let generation = 0;
  let byPath = new Map<string, ServedResource>();
  let byKind = new Map<string, ServedResource>();
  const index = () => {
    byPath = new Map(all.map((served) => [`${served.apiVersion}/${served.resource.plural}`, served]));
    byKind = new Map(all.map((served) => [`${served.apiVersion}/${served.resource.kind}`, served]));
  };
  index();
  const find = (group: string, version: string, plural: string) =>
    byPath.get(`${group === '' ? version : `${group}/${version}`}/${plural}`);
  return {
    get groupVersions() {
      return Object.keys(discovery);
    },
    get discovery() {
      return discovery;
    },
    get all() {
      return all;
    },
    get generation() {
      return generation;
    },
    setCustom: (custom) => {
      all = [...fixed, ...[...custom.values()].flatMap(({ served }) => served)];
      added = Object.fromEntries([...custom].map(([groupVersion, { discovered }]) => [groupVersion, discovered]));
      discovery = { ...builtIn, ...remoteAdded, ...added, ...remoteAdded };
      generation += 1;
      index();
    },
    setRemote: (remote) => {
      remoteAdded = Object.fromEntries(remote);
      discovery = { ...builtIn, ...remoteAdded, ...added, ...remoteAdded };
      generation += 1;
    },
    find,
    isBuiltInGroup: (group) => groups.has(group),
    findKind: (apiVersion, kind) => byKind.get(`${apiVersion}/${kind}`),
    get: ({ group, version, plural }) => {
      const served = find(group, version, plural);
      if (served === undefined) throw new Error(`${plural} of ${group}/${version} is not served`);
      return served;
    },
  };
}

/** The resources of the reference version, from kube/api/data. */
export function loadResourceTable(): ResourceTable {
  const text = readFileSync(new URL('../../kube/api/data/resources.json', import.meta.url), 'utf8');
  return buildResourceTable(JSON.parse(text) as Record<string, DiscoveredResource[]>);
}
