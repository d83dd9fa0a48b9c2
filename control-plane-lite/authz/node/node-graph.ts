// Which objects the pods of a node need it to read, brought up to date when a pod changes
// (plugin/pkg/auth/authorizer/node: graph).
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  persistentvolumeclaims,
  persistentvolumes,
  resourceslices,
  volumeattachments,
} from '#kube/api/generated/resources.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { ResourceAttributes } from '../authorizer.ts';
import { mirrorAnnotation, podReferences } from './pod-references.ts';

export interface NodeGraph {
  /** The pod at a key is as given now; undefined: it is gone. */
  observePod(key: string, pod: Pod | undefined): void;
  /** Whether a node has to do with the object that is named. */
  isRelated(node: string, named: Pick<ResourceAttributes, 'resource' | 'namespace' | 'name'>): boolean;
}

export function createNodeGraph(objects: ObjectReader): NodeGraph {
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
      const volumeName = objects.get(persistentvolumeclaims, claimNamespace, claimName)?.spec?.volumeName ?? '';
      const { claimRef, csi } = objects.get(persistentvolumes, '', volumeName)?.spec ?? {};
      // A claim may name any volume: what counts is whom the volume is bound to.
      if (claimRef?.namespace !== claimNamespace || claimRef.name !== claimName) return false;
      return [csi?.nodePublishSecretRef, csi?.nodeStageSecretRef, csi?.nodeExpandSecretRef].some(
        (secret) => secret?.name === name && (secret?.namespace ?? '') === namespace,
      );
    });

  const isRelated: NodeGraph['isRelated'] = (node, { resource, namespace, name }) => {
    if (name === '') return false;
    switch (resource) {
      case 'persistentvolumes':
        return mayReadVolume(node, name);
      case 'volumeattachments':
        return objects.get(volumeattachments, '', name)?.spec.nodeName === node;
      case 'resourceslices':
        return objects.get(resourceslices, '', name)?.spec.nodeName === node;
      case 'secrets':
        return isNeeded(node, resource, namespace, name) || isSecretOfVolume(node, namespace, name);
      default:
        return isNeeded(node, resource, namespace, name);
    }
  };
  return {
    isRelated,
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
      const references = isMirror ? new Set<string>() : podReferences(pod);
      references.add(`pods/${pod.metadata?.namespace ?? ''}/${pod.metadata?.name ?? ''}`);
      const now = { node, references };
      seen.set(key, now);
      count(now.node, now.references, 1);
    },
  };
}
