// The documents at /api, /apis and below, and their aggregated forms.

import type { DiscoveredResource, ResourceTable } from '../../registry/resource-table.ts';
import { protobufMediaType } from '../http/negotiate.ts';
import type { ProtobufCodec } from '../protobuf/protobuf-codec.ts';

export interface DiscoveryDocuments {
  /** By path, for clients that ask for plain JSON. */
  plain: ReadonlyMap<string, Buffer>;
  /** By path and version of the aggregated form. */
  aggregated: ReadonlyMap<string, Buffer>;
}

interface GroupVersion {
  group: string;
  version: string;
  groupVersion: string;
}

function parse(groupVersion: string): GroupVersion {
  const cut = groupVersion.lastIndexOf('/');
  const group = cut < 0 ? '' : groupVersion.slice(0, cut);
  return { group, version: groupVersion.slice(cut + 1), groupVersion };
}

/** The short hash that clients cache storage versions by is not secret and not checked: kind and group are enough. */
function resourceList(groupVersion: string, resources: readonly DiscoveredResource[]): object {
  return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion, resources };
}

function group(name: string, versions: readonly GroupVersion[]): object {
  const listed = versions.map(({ groupVersion, version }) => ({ groupVersion, version }));
  return { name, versions: listed, preferredVersion: listed[0] };
}

function aggregatedResources(
  { group: name, version }: GroupVersion,
  resources: readonly DiscoveredResource[],
): object[] {
  return resources
    .filter((resource) => !resource.name.includes('/'))
    .map((resource) => {
      const kindOf = (entry: DiscoveredResource) => ({
        group: entry.group ?? name,
        version: entry.version ?? version,
        kind: entry.kind,
      });
      const subresources = resources
        .filter((entry) => entry.name.startsWith(`${resource.name}/`))
        .map((entry) => ({
          subresource: entry.name.slice(resource.name.length + 1),
          responseKind: kindOf(entry),
          verbs: entry.verbs,
        }));
      return {
        resource: resource.name,
        responseKind: kindOf(resource),
        scope: resource.namespaced ? 'Namespaced' : 'Cluster',
        singularResource: resource.singularName,
        verbs: resource.verbs,
        ...(resource.shortNames === undefined ? {} : { shortNames: resource.shortNames }),
        ...(resource.categories === undefined ? {} : { categories: resource.categories }),
        ...(subresources.length === 0 ? {} : { subresources }),
      };
    });
}

function aggregated(version: string, table: ResourceTable, groups: ReadonlyMap<string, GroupVersion[]>): object {
  const items = [...groups].map(([name, versions]) => ({
    metadata: { ...(name === '' ? {} : { name }), creationTimestamp: null },
    versions: versions.map((each) => ({
      version: each.version,
      resources: aggregatedResources(each, table.discovery[each.groupVersion] ?? []),
      freshness: 'Current',
    })),
  }));
  return { kind: 'APIGroupDiscoveryList', apiVersion: `apidiscovery.k8s.io/${version}`, metadata: {}, items };
}

const bytes = (document: object): Buffer => Buffer.from(`${JSON.stringify(document)}\n`);

/** Builds every document. `serverAddress` is what /api advertises, host and port. */
export function buildDiscovery(table: ResourceTable, serverAddress: string): DiscoveryDocuments {
  const parsed = table.groupVersions.map(parse);
  const groups = Map.groupBy(parsed, (each) => each.group);
  const named = new Map([...groups].filter(([name]) => name !== ''));
  const core = new Map([...groups].filter(([name]) => name === ''));
  const plain = new Map<string, Buffer>();
  plain.set(
    '/api',
    bytes({
      kind: 'APIVersions',
      apiVersion: 'v1',
      versions: ['v1'],
      serverAddressByClientCIDRs: [{ clientCIDR: '0.0.0.0/0', serverAddress }],
    }),
  );
  const listed = [...named].map(([name, versions]) => group(name, versions));
  plain.set('/apis', bytes({ kind: 'APIGroupList', apiVersion: 'v1', groups: listed }));
  for (const [name, versions] of named) {
    plain.set(`/apis/${name}`, bytes({ kind: 'APIGroup', apiVersion: 'v1', ...group(name, versions) }));
  }
  for (const each of parsed) {
    const path = each.group === '' ? `/api/${each.version}` : `/apis/${each.groupVersion}`;
    plain.set(path, bytes(resourceList(each.groupVersion, table.discovery[each.groupVersion] ?? [])));
  }
  const documents: [string, Buffer][] = ['v2', 'v2beta1'].flatMap((version): [string, Buffer][] => [
    [`/api ${version}`, bytes(aggregated(version, table, core))],
    [`/apis ${version}`, bytes(aggregated(version, table, named))],
  ]);
  return { plain, aggregated: new Map(documents) };
}

export interface SelectedDocument {
  contentType: string;
  body: Buffer;
}

const as = 'as=APIGroupDiscoveryList';

function encoded(protobuf: ProtobufCodec, document: Buffer): Buffer {
  return protobuf.encode(JSON.parse(document.toString()) as Record<string, unknown>);
}

/** The document for a path and an Accept header, with its content type. */
export function selectDiscovery(
  documents: DiscoveryDocuments,
  path: string,
  accept: string | undefined,
  protobuf: ProtobufCodec,
): SelectedDocument | undefined {
  for (const clause of (accept ?? '').split(',')) {
    const [type, ...parameters] = clause.split(';').map((part) => part.trim());
    const isProtobuf = type === protobufMediaType;
    if (type !== 'application/json' && type !== '*/*' && !isProtobuf) continue;
    const isAggregated = parameters.includes(as);
    const version = parameters.find((part) => part.startsWith('v='))?.slice(2) ?? '';
    const body = isAggregated ? documents.aggregated.get(`${path} ${version}`) : documents.plain.get(path);
    if (body === undefined) {
      if (isAggregated) continue;
      return undefined;
    }
    const parameter = isAggregated ? `;g=apidiscovery.k8s.io;v=${version};${as}` : '';
    return isProtobuf
      ? { contentType: `${protobufMediaType}${parameter}`, body: encoded(protobuf, body) }
      : { contentType: `application/json${parameter}`, body };
  }
  const body = documents.plain.get(path);
  return body === undefined ? undefined : { contentType: 'application/json', body };
}
