// The Node authorizer: what a node may read follows from the pods that run on it, its name and the selectors that
// it reads by (plugin/pkg/auth/authorizer/node).
import { clusterroles } from '#kube/api/generated/resources.ts';
import { nodeNameOf } from '../../admission/node-identity.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { AccessAttributes, Authorizer, Decision, ResourceAttributes } from '../authorizer.ts';
import { ruleMatches } from '../rbac/rule-matches.ts';
import type { NodeGraph } from './node-graph.ts';

const noOpinion = (reason: string): Decision => ({ verdict: 'noOpinion', reason });
const allow: Decision = { verdict: 'allow', reason: '' };
const reads = new Set(['get', 'list', 'watch']);
const changes = new Set(['update', 'patch']);
const keeps = new Set(['get', 'create', 'update', 'patch', 'delete']);
const leaseNamespace = 'kube-node-lease';

/** Whether only objects with this value are asked for. */
const selects = ({ fieldSelector = [] }: ResourceAttributes, wanted: string, of: string): boolean =>
  fieldSelector.some(({ field, operator, value }) => field === wanted && operator === '=' && value === of);

/** Why this is not a read of one object; undefined when it is. */
function authorizeGet({ verb, subresource }: ResourceAttributes): Decision | undefined {
  if (verb !== 'get') return noOpinion('can only get individual resources of this type');
  return subresource === '' ? undefined : noOpinion('cannot get subresource');
}

/** Who has what role is read from `objects`. */
export function createNodeAuthorizer(
  objects: Pick<ObjectReader, 'get'>,
  graph: Pick<NodeGraph, 'isRelated'>,
): Authorizer {
  const authorizeRelated = (node: string, access: ResourceAttributes): Decision => {
    if (access.name === '') return noOpinion('No Object name found');
    return graph.isRelated(node, access)
      ? allow
      : noOpinion(`no relationship found between node '${node}' and this object`);
  };

  const authorizeNode = (node: string, access: ResourceAttributes & AccessAttributes): Decision => {
    const { group, resource, subresource, verb, namespace, name } = access;
    switch (`${group}/${resource}`) {
      case '/secrets':
      case '/configmaps':
        if (!reads.has(verb)) return noOpinion('can only read resources of this type');
        if (subresource !== '') return noOpinion('cannot read subresource');
        if (namespace === '') return noOpinion('can only read namespaced object of this type');
        return authorizeRelated(node, access);
      case '/persistentvolumeclaims':
        if (subresource !== 'status') return authorizeGet(access) ?? authorizeRelated(node, access);
        // Who grows a filesystem tells the claim its size.
        if (!changes.has(verb)) return noOpinion('can only get/update/patch this type');
        return authorizeRelated(node, access);
      case '/persistentvolumes':
      case 'resource.k8s.io/resourceclaims':
      case 'storage.k8s.io/volumeattachments':
        return authorizeGet(access) ?? authorizeRelated(node, access);
      case '/serviceaccounts':
        if (verb === 'get' && subresource === '') return authorizeRelated(node, access);
        if (verb !== 'create' || name === '')
          return noOpinion('can only create tokens for individual service accounts');
        if (subresource !== 'token') return noOpinion('can only create token subresource of serviceaccount');
        return authorizeRelated(node, access);
      case 'coordination.k8s.io/leases':
        if (!keeps.has(verb)) return noOpinion('can only get, create, update, patch, or delete a node lease');
        if (namespace !== leaseNamespace)
          return noOpinion(`can only access leases in the ${JSON.stringify(leaseNamespace)} system namespace`);
        if (verb === 'create' || name === node) return allow;
        return noOpinion('can only access node lease with the same name as the requesting node');
      case 'storage.k8s.io/csinodes':
        if (!keeps.has(verb)) return noOpinion('can only get, create, update, patch, or delete a CSINode');
        if (subresource !== '') return noOpinion('cannot authorize CSINode subresources');
        if (verb === 'create' || name === node) return allow;
        return noOpinion('can only access CSINode with the same name as the requesting node');
      case 'resource.k8s.io/resourceslices':
        return authorizeResourceSlice(node, access);
      case '/nodes':
        return authorizeNodeObject(node, access);
      case '/pods':
        return authorizePod(node, access);
      default:
        return hasRole(access) ? allow : noOpinion('');
    }
  };

  const authorizeResourceSlice = (node: string, access: ResourceAttributes): Decision => {
    if (access.subresource !== '') return noOpinion('cannot authorize ResourceSlice subresources');
    switch (access.verb) {
      // Whose slice is made is looked at by NodeRestriction, which sees it.
      case 'create':
        return allow;
      case 'get':
      case 'update':
      case 'patch':
      case 'delete':
        return authorizeRelated(node, access);
      case 'watch':
      case 'list':
      case 'deletecollection':
        return selects(access, 'spec.nodeName', node)
          ? allow
          : noOpinion('can only list/watch/deletecollection resourceslices with nodeName field selector');
      default:
        return noOpinion(
          'only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection',
        );
    }
  };
  // What a node writes to nodes and pods is narrowed further by NodeRestriction.
  const authorizeNodeObject = (node: string, { subresource, verb, name }: ResourceAttributes): Decision => {
    if (subresource === 'status') return changes.has(verb) ? allow : noOpinion('');
    if (subresource !== '') return noOpinion('');
    if (verb === 'create' || changes.has(verb)) return allow;
    if (!reads.has(verb)) return noOpinion('');
    // By name, and not by what is there: a node asks for itself before it exists.
    if (name === node) return allow;
    const wanted = name === '' ? 'all nodes' : `'${name}'`;
    return noOpinion(`node '${node}' cannot read ${wanted}, only its own Node object`);
  };
  const authorizePod = (node: string, access: ResourceAttributes): Decision => {
    const { subresource, verb, name } = access;
    if (subresource === 'status') return changes.has(verb) ? allow : noOpinion('');
    if (subresource === 'eviction') return verb === 'create' ? allow : noOpinion('');
    if (subresource !== '') return noOpinion('');
    if (verb === 'create' || verb === 'delete') return allow;
    if (verb === 'get') return authorizeRelated(node, access);
    if (verb !== 'list' && verb !== 'watch') return noOpinion('');
    if (selects(access, 'spec.nodeName', node)) return allow;
    return name === ''
      ? noOpinion('can only list/watch pods with spec.nodeName field selector')
      : authorizeRelated(node, access);
  };
  /** Everything else follows the role that upstream gives to nodes; nobody is bound to it. */
  const hasRole = (access: ResourceAttributes): boolean =>
    (objects.get(clusterroles, '', 'system:node')?.rules ?? []).some((rule) =>
      ruleMatches(rule, { ...access, isResource: true }),
    );

  return {
    authorize: (user, access: AccessAttributes) => {
      const node = nodeNameOf(user);
      if (node === undefined || node === '' || !access.isResource) return noOpinion('');
      return authorizeNode(node, access);
    },
  };
}
