// Which objects and namespaces webhooks and policies are about.
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { namespaces } from '#kube/api/generated/resources.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { AdmissionAttributes } from './admission-attributes.ts';

const isEmpty = (selector: LabelSelector | undefined): boolean =>
  selector === undefined ||
  (Object.keys(selector.matchLabels ?? {}).length === 0 && (selector.matchExpressions ?? []).length === 0);

/** A namespace is selected by its own labels; other objects of the cluster always are. */
export function namespaceMatches(
  selector: LabelSelector | undefined,
  { served, subresource, namespace, operation, object }: AdmissionAttributes,
  objects: ObjectReader,
): boolean {
  if (isEmpty(selector)) return true;
  const isNamespace = served.resource.group === '' && served.resource.plural === 'namespaces';
  if (!served.resource.namespaced && !isNamespace) return true;
  const isOwn = isNamespace && subresource === '' && (operation === 'CREATE' || operation === 'UPDATE');
  const labels = isOwn
    ? object?.metadata.labels
    : objects.get(namespaces, '', namespaceNameOf(isNamespace, namespace, object))?.metadata.labels;
  return labelSelectorMatches(selector, labels);
}

function namespaceNameOf(isNamespace: boolean, namespace: string, object: KubeObject | undefined): string {
  return isNamespace && namespace === '' ? (object?.metadata.name ?? '') : namespace;
}

/** The new object or the one before has to be selected. */
export function objectMatches(
  selector: LabelSelector | undefined,
  { object, oldObject }: AdmissionAttributes,
): boolean {
  if (isEmpty(selector)) return true;
  return [object, oldObject].some(
    (each) => each?.metadata !== undefined && labelSelectorMatches(selector, each.metadata.labels),
  );
}
