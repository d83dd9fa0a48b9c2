// Which objects a list of the metrics API is about, by labels and by name.
import { fieldsMatch, parseFieldSelector } from '#kube/api/field-selector.ts';
import { SelectorError, selectorMatches } from '#kube/api/label-selector.ts';
import { parseLabelSelector } from '#kube/api/parse-label-selector.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { badRequest } from '../../registry/status-errors.ts';

export type Selection = (object: KubeObject) => boolean;

const readers: Readonly<Record<string, (object: KubeObject) => string>> = {
  'metadata.name': ({ metadata }) => metadata.name,
  'metadata.namespace': ({ metadata }) => metadata.namespace ?? '',
};

/** Throws StatusError 400. */
export function parseSelection(query: URLSearchParams): Selection {
  try {
    const labels = parseLabelSelector(query.get('labelSelector') ?? '');
    const fields = parseFieldSelector(query.get('fieldSelector') ?? '');
    for (const { field } of fields) {
      if (readers[field] === undefined) throw badRequest(`field label not supported: ${field}`);
    }
    return (object) =>
      selectorMatches(labels, object.metadata.labels) && fieldsMatch(fields, (field) => readers[field]?.(object) ?? '');
  } catch (error) {
    if (error instanceof SelectorError) throw badRequest(error.message);
    throw error;
  }
}
