// Where objects of a resource are kept: the keys of a stock API server on etcd, so that data can move there.
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
