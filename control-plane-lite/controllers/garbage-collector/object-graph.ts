// Who owns whom: all objects of the cluster that own or are owned, by uid. Pure state; returns what a change calls for.
import type { ObjectMeta, OwnerReference } from '#kube/api/generated/meta-v1.ts';
import type { Resource } from '#kube/api/resource.ts';

/** Keeps an owner until its blocking dependents are gone. */
export const foregroundFinalizer = 'foregroundDeletion';
/** Keeps an owner until its dependents were freed. */
export const orphanFinalizer = 'orphan';

/** An object as the collector sees it. */
export interface GraphNode {
  uid: string;
  /** Undefined where only a reference is known and its kind is not served. */
  resource: Resource | undefined;
  namespace: string;
  name: string;
  owners: readonly OwnerReference[];
  dependents: Set<string>;
  /** False: known by a reference only; whether it exists has to be asked. */
  observed: boolean;
  deleting: boolean;
  /** Being deleted in the foreground: waits for its blocking dependents. */
  deletingDependents: boolean;
  /** Being deleted with its dependents to be kept. */
  orphaning: boolean;
}

/** Work that a change leads to. */
export interface GraphWork {
  /** Objects to judge: they may have lost their last owner. */
  judge: string[];
  /** Objects whose dependents have to be freed. */
  orphan: string[];
}

export interface ObjectGraph {
  get(uid: string): GraphNode | undefined;
  /** An object was created or changed. */
  observe(resource: Resource, metadata: ObjectMeta & { name: string }): GraphWork;
  /** An object is gone. */
  remove(uid: string): GraphWork;
  readonly size: number;
}

/** `resourceOf` finds the resource of a reference's kind. */
export function createObjectGraph(resourceOf: (reference: OwnerReference) => Resource | undefined): ObjectGraph {
  const nodes = new Map<string, GraphNode>();

  function virtualNode(reference: OwnerReference, namespace: string): GraphNode {
    const resource = resourceOf(reference);
    const node: GraphNode = {
      uid: reference.uid,
      resource,
      namespace: resource?.namespaced === false ? '' : namespace,
      name: reference.name,
      owners: [],
      dependents: new Set(),
      observed: false,
      deleting: false,
      deletingDependents: false,
      orphaning: false,
    };
    nodes.set(reference.uid, node);
    return node;
  }

  function link(node: GraphNode, owners: readonly OwnerReference[], work: GraphWork): void {
    const kept = new Set(owners.map(({ uid }) => uid));
    for (const { uid } of node.owners) {
      if (kept.has(uid)) continue;
      const owner = nodes.get(uid);
      owner?.dependents.delete(node.uid);
      if (owner?.deletingDependents === true) work.judge.push(uid);
      if (owner !== undefined && !owner.observed && owner.dependents.size === 0) nodes.delete(uid);
    }
    for (const reference of owners) {
      const known = nodes.get(reference.uid);
      const owner = known ?? virtualNode(reference, node.namespace);
      owner.dependents.add(node.uid);
      if (known === undefined) work.judge.push(reference.uid);
      else if (known.deletingDependents) work.judge.push(node.uid, reference.uid);
    }
    node.owners = owners;
  }

  return {
    get: (uid) => nodes.get(uid),
    observe(resource, metadata) {
      const work: GraphWork = { judge: [], orphan: [] };
      const { uid, ownerReferences = [], finalizers = [] } = metadata;
      if (uid === undefined) return work;
      const node = nodes.get(uid) ?? {
        uid,
        resource,
        namespace: '',
        name: '',
        owners: [],
        dependents: new Set<string>(),
        observed: true,
        deleting: false,
        deletingDependents: false,
        orphaning: false,
      };
      nodes.set(uid, node);
      const before = { deletingDependents: node.deletingDependents, orphaning: node.orphaning };
      const deleting = metadata.deletionTimestamp !== undefined;
      Object.assign(node, {
        resource,
        namespace: metadata.namespace ?? '',
        name: metadata.name,
        observed: true,
        deleting,
        deletingDependents: deleting && finalizers.includes(foregroundFinalizer),
        orphaning: deleting && finalizers.includes(orphanFinalizer),
      });
      link(node, ownerReferences, work);
      if (node.orphaning && !before.orphaning) work.orphan.push(uid);
      if (node.deletingDependents && !before.deletingDependents) work.judge.push(uid, ...node.dependents);
      return work;
    },
    remove(uid) {
      const work: GraphWork = { judge: [], orphan: [] };
      const node = nodes.get(uid);
      if (node === undefined) return work;
      link(node, [], work);
      nodes.delete(uid);
      work.judge.push(...node.dependents);
      // Dependents go on naming it: keep it as a reference until they are judged.
      return work;
    },
    get size() {
      return nodes.size;
    },
  };
}
