// The Node authorizer: what a node may read beyond its roles follows from the pods that run on it.
// The graph of who needs what is kept by node and brought up to date when a pod changes.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  clusterroles,
  persistentvolumeclaims,
  persistentvolumes,
  volumeattachments,
} from '#kube/api/generated/resources.ts';
import { nodeNameOf } from '../../admission/node-identity.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { AccessAttributes, Authorizer, Decision, ResourceAttributes } from '../authorizer.ts';
import { ruleMatches } from '../rbac/rule-matches.ts';
import { mirrorAnnotation, podReferences } from './pod-references.ts';

export interface NodeAuthorizer extends Authorizer {
  /** The pod at a key is as given now; undefined: it is gone. */
  observePod(key: string, pod: Pod | undefined): void;
}

const noOpinion = (reason: string): Decision => ({ verdict: 'noOpinion', reason });
const allow: Decision = { verdict: 'allow', reason: '' };

export function createNodeAuthorizer(objects: ObjectReader): NodeAuthorizer {
  /** node -> reference -> how many pods need it. */
  const needed = new Map<string, Map<string, number>>();
  /** What each pod was last seen to need. */
  const seen = new Map<string, { node: string; references: ReadonlySet<string> }>();
  const count = (node: string, wanted: ReadonlySet<string>, step: 1 | -1) => {
    const references = needed.get(node) ?? new Map<string, number>();
    for (const reference of wanted) {
      const sum = (references.get(reference) ?? 0) + step;
      if (sum > 0) references.set(reference, sum);
      else references.delete(reference);
    }
    if (references.size === 0) needed.delete(node);
    else needed.set(node, references);
  };
  const isNeeded = (node: string, resource: string, namespace: string, name: string) =>
    needed.get(node)?.has(`${resource}/${namespace}/${name}`) === true;

  const mayReadVolume = (node: string, name: string): boolean => {
    const claim = objects.get(persistentvolumes, '', name)?.spec?.claimRef;
    return claim !== undefined && isNeeded(node, 'persistentvolumeclaims', claim.namespace ?? '', claim.name ?? '');
  };
  /** Secrets that a volume's driver needs come with the volume. */
  const isSecretOfVolume = (node: string, namespace: string, name: string): boolean =>
    [...(needed.get(node)?.keys() ?? [])].some((reference) => {
      const [resource, claimNamespace = '', claimName = ''] = reference.split('/');
      if (resource !== 'persistentvolumeclaims') return false;
      const volume = objects.get(persistentvolumeclaims, claimNamespace, claimName)?.spec?.volumeName ?? '';
      const csi = objects.get(persistentvolumes, '', volume)?.spec?.csi;
      return [csi?.nodePublishSecretRef, csi?.nodeStageSecretRef, csi?.nodeExpandSecretRef].some(
        (secret) => secret?.name === name && (secret?.namespace ?? '') === namespace,
      );
    });

  const authorizeOwn = (
    node: string,
    access: ResourceAttributes,
    named: string,
    verbs: readonly string[],
  ): Decision => {
    if (!verbs.includes(access.verb)) return noOpinion(`can only ${verbs.join('/')} this kind`);
    const isOwn = access.verb === 'create' || named === node;
    return isOwn ? allow : noOpinion('can only access the object with the same name as the requesting node');
  };

  const authorizeReferenced = (node: string, access: ResourceAttributes): Decision => {
    const { resource, namespace, name, verb, subresource } = access;
    // Who grows a filesystem tells the claim its size.
    const isSizeWrite =
      resource === 'persistentvolumeclaims' && subresource === 'status' && (verb === 'update' || verb === 'patch');
    if (verb !== 'get' && verb !== 'list' && verb !== 'watch' && !isSizeWrite)
      return noOpinion('can only read resources of this type');
    if (subresource !== '' && !(resource === 'persistentvolumeclaims' && subresource === 'status')) {
      return noOpinion('cannot read subresource');
    }
    if (name === '') return noOpinion('No Object name found');
    const isFound =
      resource === 'persistentvolumes'
        ? mayReadVolume(node, name)
        : isNeeded(node, resource, namespace, name) ||
          (resource === 'secrets' && isSecretOfVolume(node, namespace, name));
    return isFound ? allow : noOpinion(`no relationship found between node ${JSON.stringify(node)} and this object`);
  };

  const authorizeNode = (node: string, access: ResourceAttributes & AccessAttributes): Decision => {
    const { group, resource, subresource, verb, namespace, name } = access;
    switch (`${group}/${resource}`) {
      case '/secrets':
      case '/configmaps':
      case '/persistentvolumeclaims':
      case '/persistentvolumes':
        return authorizeReferenced(node, access);
      case 'storage.k8s.io/volumeattachments':
        if (verb !== 'get' && verb !== 'watch' && verb !== 'list')
          return noOpinion('can only read resources of this type');
        return objects.get(volumeattachments, '', name)?.spec.nodeName === node
          ? allow
          : noOpinion('no relationship found');
      case '/serviceaccounts':
        if (subresource !== 'token' || verb !== 'create')
          return noOpinion('can only create tokens for individual service accounts');
        return isNeeded(node, 'serviceaccounts', namespace, name) ? allow : noOpinion('no relationship found');
      case 'coordination.k8s.io/leases':
        if (namespace !== 'kube-node-lease')
          return noOpinion('can only access leases in the kube-node-lease namespace');
        return authorizeOwn(node, access, name, ['get', 'create', 'update', 'patch', 'delete']);
      case 'storage.k8s.io/csinodes':
        return authorizeOwn(node, access, name, ['get', 'create', 'update', 'patch', 'delete']);
      default:
        return hasRole(access) ? allow : noOpinion('');
    }
  };
  /** Everything else follows the role that upstream gives to nodes; nobody is bound to it. */
  const hasRole = (access: ResourceAttributes): boolean =>
    (objects.get(clusterroles, '', 'system:node')?.rules ?? []).some((rule) =>
      ruleMatches(rule, { ...access, isResource: true }),
    );

  return {
    observePod: (key, pod) => {
      const before = seen.get(key);
      if (before !== undefined) count(before.node, before.references, -1);
      const node = pod?.spec?.nodeName ?? '';
      if (pod === undefined || node === '') {
        seen.delete(key);
        return;
      }
      // A node makes mirror pods itself: what they name must open nothing to it.
      const isMirror = pod.metadata?.annotations?.[mirrorAnnotation] !== undefined;
      const now = { node, references: isMirror ? new Set<string>() : podReferences(pod) };
      seen.set(key, now);
      count(now.node, now.references, 1);
    },
    authorize: (user, access: AccessAttributes) => {
      const node = nodeNameOf(user);
      if (node === undefined || node === '' || !access.isResource) return noOpinion('');
      return authorizeNode(node, access);
    },
  };
}
