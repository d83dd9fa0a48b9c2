// Where objects of a resource are kept: the keys of a stock API server on etcd, so that data can move there.
import * as resources from '#kube/api/generated/resources.ts';
import type { Resource } from '#kube/api/resource.ts';

const special: Record<string, string> = {
  '/services': 'services/specs',
  '/endpoints': 'services/endpoints',
  '/nodes': 'minions',
  '/replicationcontrollers': 'controllers',
  'networking.k8s.io/ingresses': 'ingress',
  'apiregistration.k8s.io/apiservices': 'apiregistration.k8s.io/apiservices',
  'apiextensions.k8s.io/customresourcedefinitions': 'apiextensions.k8s.io/customresourcedefinitions',
};

/** For example `/registry/pods/`. */
export function storagePrefixOf(resource: Pick<Resource, 'group' | 'plural'>): string {
  return `/registry/${special[`${resource.group}/${resource.plural}`] ?? resource.plural}/`;
}

const builtIn = Object.values(resources);

/**
 * Where the objects are that a configuration names: `secrets`, `deployments.apps`, `*.apps` for a group, `*.` for the core
 * group, `*.*` for all. Resources of groups that are not built in are custom ones. None where there is no such resource.
 */
export function storagePrefixesOf(name: string): string[] {
  if (name === '*.*') return ['/registry/'];
  const [plural = '', ...rest] = name.split('.');
  const group = rest.join('.');
  if (!/^(\*|[a-z0-9-]+)$/.test(plural)) return [];
  const own = builtIn.filter((resource) => resource.group === group);
  const found = own.filter((resource) => (plural === '*' ? name.includes('.') : resource.plural === plural));
  if (found.length > 0) return [...new Set(found.map(storagePrefixOf))];
  if (own.length > 0 || !group.includes('.')) return [];
  return [`/registry/${group}/${plural === '*' ? '' : `${plural}/`}`];
}
