// NodeRestriction: a node writes only its own Node, Lease, CSINode, pods and their tokens.
import { isDeepStrictEqual } from 'node:util';
import type { TokenRequest } from '#kube/api/generated/authentication-v1.ts';
import type { Node, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { ResourceSlice } from '#kube/api/generated/resource-v1.ts';
import { nodes, persistentvolumeclaims, pods } from '#kube/api/generated/resources.ts';
import { isReservedNodeLabel } from '#kube/api/kubelet-labels.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { podReferences } from '../authz/node/pod-references.ts';
import { forbidden } from '../registry/status-errors.ts';
import { nodeNameOf } from './node-identity.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';
import { isMirrorPod, type PodObject } from './pod-request.ts';

const leaseNamespace = 'kube-node-lease';
const restrictedSuffix = 'node-restriction.kubernetes.io/';
/** Kubernetes' own labels that a node may not set on itself. */
function isForbiddenLabel(label: string): boolean {
  const prefix = label.includes('/') ? label.slice(0, label.indexOf('/') + 1) : '';
  return prefix.endsWith(restrictedSuffix) || isReservedNodeLabel(label);
}

function admitNode(request: AdmissionRequest, self: string): void {
  const { verb, name, object, previous } = request;
  if (verb === 'delete') throw forbidden(nodes, name, `node ${JSON.stringify(self)} is not allowed to delete nodes`);
  const target = verb === 'create' ? (object?.metadata.name ?? '') : name;
  if (target !== self) {
    throw forbidden(
      nodes,
      target,
      `node ${JSON.stringify(self)} is not allowed to modify node ${JSON.stringify(target)}`,
    );
  }
  const labels = object?.metadata.labels ?? {};
  const before = previous?.metadata.labels ?? {};
  const changed = [...new Set([...Object.keys(labels), ...Object.keys(before)])].filter(
    (label) => labels[label] !== before[label] && isForbiddenLabel(label),
  );
  if (changed.length > 0) {
    throw forbidden(nodes, target, `is not allowed to modify labels: ${changed.sort().join(', ')}`);
  }
  if (verb !== 'update') return;
  const [now, then] = [object as KubeObject & Node, previous as KubeObject & Node];
  if (!isDeepStrictEqual(now.spec?.taints, then.spec?.taints)) {
    throw forbidden(nodes, target, `node ${JSON.stringify(self)} is not allowed to modify taints`);
  }
  if (!isDeepStrictEqual(now.metadata.ownerReferences, then.metadata.ownerReferences)) {
    throw forbidden(nodes, target, `node ${JSON.stringify(self)} is not allowed to modify ownerReferences`);
  }
}

function nodeOf(object: KubeObject | undefined): string {
  return (object as Pod | undefined)?.spec?.nodeName ?? '';
}

/** A mirror pod stands for what its node already runs: it belongs to the node and opens no object of the API to it. */
function whyNotItsMirror(pod: PodObject, self: string, uid: string | undefined): string | undefined {
  const [owner, ...more] = pod.metadata.ownerReferences ?? [];
  if (owner === undefined) return 'can only create pods with an owner reference set to itself';
  if (more.length > 0) return 'can only create pods with a single owner reference set to itself';
  if (owner.apiVersion !== 'v1' || owner.kind !== 'Node' || owner.name !== self)
    return 'can only create pods with an owner reference set to itself';
  if (owner.controller !== true) return 'can only create pods with a controller owner reference set to itself';
  if (owner.blockOwnerDeletion === true) return 'must not set blockOwnerDeletion on an owner reference';
  if (owner.uid !== uid) return `UID mismatch: expected ${uid ?? ''} got ${owner.uid}`;
  const [referred] = podReferences(pod);
  if (referred !== undefined) {
    const kind = referred.slice(0, referred.indexOf('/'));
    return `can not create pods that reference ${kind === 'serviceaccounts' ? 'a service account' : kind}`;
  }
  const { resourceClaims = [], volumes = [] } = pod.spec ?? {};
  if (resourceClaims.length > 0) return 'can not create pods that reference resourceclaims';
  const sources = volumes.flatMap(({ projected }) => projected?.sources ?? []);
  if (sources.some(({ clusterTrustBundle }) => clusterTrustBundle !== undefined))
    return 'can not create pods that reference clustertrustbundles';
  return undefined;
}

function admitPod(request: AdmissionRequest, self: string): void {
  const { verb, subresource, object, previous, name, objects, namespace } = request;
  const refuse = (why: string) => forbidden(pods, name, why);
  const quotedSelf = JSON.stringify(self);
  if (subresource === 'eviction') {
    if (nodeOf(objects.get(pods, namespace, name)) !== self) {
      throw refuse(`node ${quotedSelf} can only evict pods with spec.nodeName set to itself`);
    }
    return;
  }
  if (verb === 'create') {
    const pod = object as PodObject;
    if (!isMirrorPod(pod))
      throw refuse(
        `pod does not have "kubernetes.io/config.mirror" annotation, node ${quotedSelf} can only create mirror pods`,
      );
    if (nodeOf(pod) !== self) throw refuse(`node ${quotedSelf} can only create pods with spec.nodeName set to itself`);
    const why = whyNotItsMirror(pod, self, objects.get(nodes, '', self)?.metadata.uid);
    if (why !== undefined) throw refuse(`node ${quotedSelf} ${why}`);
    return;
  }
  if (verb === 'delete' && nodeOf(previous) !== self) {
    throw refuse(`node ${quotedSelf} can only delete pods with spec.nodeName set to itself`);
  }
  if (verb !== 'update') return;
  if (subresource !== 'status')
    throw refuse(`unexpected pod subresource ${JSON.stringify(subresource)}, only 'status' and 'eviction' are allowed`);
  if (nodeOf(previous) !== self)
    throw refuse(`node ${quotedSelf} can only update pod status for pods with spec.nodeName set to itself`);
  if (!isDeepStrictEqual(object?.metadata.labels ?? {}, previous?.metadata.labels ?? {})) {
    throw refuse(`node ${quotedSelf} cannot update labels through pod status`);
  }
}

function admitToken(request: AdmissionRequest, self: string): void {
  const { name, namespace, objects, object } = request;
  const resource = request.served.resource;
  const reference = (object as (KubeObject & TokenRequest) | undefined)?.spec.boundObjectRef;
  if (reference?.kind !== 'Pod') throw forbidden(resource, name, 'node requested token not bound to a pod');
  const pod = objects.get(pods, namespace, reference.name ?? '');
  if (pod === undefined || (reference.uid ?? '') !== pod.metadata.uid) {
    throw forbidden(resource, name, 'node requested token bound to a pod that does not exist');
  }
  if (nodeOf(pod) !== self)
    throw forbidden(resource, name, 'node requested token bound to a pod scheduled on a different node');
}

/** A node tells a claim only the size of its volume, and how far resizing is. */
function admitClaim({ verb, subresource, object, previous, name }: AdmissionRequest): void {
  const refuse = (why: string) => forbidden(persistentvolumeclaims, name, why);
  if (verb !== 'update') throw refuse(`unexpected operation ${JSON.stringify(verb)}`);
  if (subresource !== 'status') {
    throw refuse(`unexpected PVC subresource ${JSON.stringify(subresource)}, only 'status' is allowed`);
  }
  const rest = (claim: KubeObject | undefined) => {
    const { capacity, conditions, allocatedResources, allocatedResourceStatuses, ...status } =
      (claim as PersistentVolumeClaim | undefined)?.status ?? {};
    const { managedFields, resourceVersion, ...metadata } = claim?.metadata ?? {};
    return { ...claim, metadata, status };
  };
  if (!isDeepStrictEqual(rest(object), rest(previous))) {
    throw refuse('is not allowed to update fields other than status.quantity and status.conditions');
  }
}

/** What a driver of the node offers; reads and updates are the Node authorizer's to decide. */
function admitResourceSlice({ verb, object, previous, served, name }: AdmissionRequest, self: string): void {
  const slice = (verb === 'create' ? object : previous) as ResourceSlice | undefined;
  if (verb === 'update' || slice?.spec.nodeName === self) return;
  throw forbidden(
    served.resource,
    name === '' ? (object?.metadata.name ?? '') : name,
    `can only ${verb} ResourceSlice with the same NodeName as the requesting node`,
  );
}

export const nodeRestriction: AdmissionPlugin = {
  name: 'NodeRestriction',
  mutate: (request) => {
    const self = nodeNameOf(request.context.user);
    if (self === undefined) return;
    const { served, name, namespace, subresource, object } = request;
    const target = name === '' ? (object?.metadata.name ?? '') : name;
    const { group, kind } = served.stored;
    switch (`${group}/${kind}`) {
      case '/Node':
        admitNode(request, self);
        return;
      case '/Pod':
        admitPod(request, self);
        return;
      case '/PersistentVolumeClaim':
        admitClaim(request);
        return;
      case '/ServiceAccount':
        if (subresource === 'token') admitToken(request, self);
        return;
      case 'coordination.k8s.io/Lease':
        if (namespace !== leaseNamespace)
          throw forbidden(
            served.resource,
            target,
            `can only access leases in the ${JSON.stringify(leaseNamespace)} system namespace`,
          );
        if (target !== self)
          throw forbidden(
            served.resource,
            target,
            'can only access node lease with the same name as the requesting node',
          );
        return;
      case 'resource.k8s.io/ResourceSlice':
        admitResourceSlice(request, self);
        return;
      case 'storage.k8s.io/CSINode':
        if (target !== self)
          throw forbidden(served.resource, target, 'can only access CSINode with the same name as the requesting node');
        return;
      default:
    }
  },
};
