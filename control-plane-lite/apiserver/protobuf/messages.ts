// The protobuf messages of the API's kinds: names, field numbers and types, read from data on first use.
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

const metaPackage = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const packages: Readonly<Record<string, string>> = {
  '': 'k8s.io.api.core',
  'apiextensions.k8s.io': 'k8s.io.apiextensions_apiserver.pkg.apis.apiextensions',
  'apiregistration.k8s.io': 'k8s.io.kube_aggregator.pkg.apis.apiregistration',
  'internal.apiserver.k8s.io': 'k8s.io.api.apiserverinternal',
  'meta.k8s.io': 'k8s.io.apimachinery.pkg.apis.meta',
};
/** Groups that are not the reference's, and yet have its ending. */
const groupName = /^([a-z]+)(\.[a-z.]*k8s\.io)?$/;

let loaded: protobuf.Root | undefined;

function root(): protobuf.Root {
  if (loaded === undefined) {
    const text = readFileSync(new URL('./data/kubernetes-api.json', import.meta.url), 'utf8');
    loaded = protobuf.Root.fromJSON(JSON.parse(text) as protobuf.INamespace);
    loaded.resolveAll();
  }
  return loaded;
}

function lookUp(path: string): protobuf.Type | undefined {
  const found = root().lookup(path.split('.'));
  return found instanceof protobuf.Type ? found : undefined;
}

/** A message by its full name. Throws for one that there is not. */
export function messageNamed(path: string): protobuf.Type {
  return root().lookupType(path);
}

/** The message of a kind; undefined for kinds that have none, as those of custom resources. */
export function messageOf(apiVersion: string, kind: string): protobuf.Type | undefined {
  const cut = apiVersion.lastIndexOf('/');
  const [group, version] = cut < 0 ? ['', apiVersion] : [apiVersion.slice(0, cut), apiVersion.slice(cut + 1)];
  if (!/^v[a-z0-9]+$/.test(version) || !/^[A-Za-z0-9]+$/.test(kind)) return undefined;
  const known = packages[group] ?? `k8s.io.api.${groupName.exec(group)?.[1] ?? 'none'}`;
  // Options, Status and lists of metadata live with the metadata types, whatever group names them.
  return lookUp(`${known}.${version}.${kind}`) ?? metaMessage(kind);
}

const metaKinds =
  /^(Status|\w+Options|PartialObjectMetadata(List)?|WatchEvent|API(Versions|GroupList|Group|ResourceList))$/;

function metaMessage(kind: string): protobuf.Type | undefined {
  return metaKinds.test(kind) ? lookUp(`${metaPackage}.${kind}`) : undefined;
}
