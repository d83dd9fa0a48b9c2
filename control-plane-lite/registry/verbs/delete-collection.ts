// Delete collection: every object that a list would have answered, each by the rules of a single deletion.
import type { DeleteOptions } from '#kube/api/generated/meta-v1.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import type { Registry } from '../registry.ts';
import type { RequestContext } from '../request-context.ts';
import type { ServedResource } from '../resource-table.ts';
import { deleteObject } from './delete.ts';

const inFlight = 16;

/** Deletes the objects of `entries`; ones that are gone meanwhile are no failure. Returns those that were there. */
export async function deleteCollection(
  registry: Registry,
  served: ServedResource,
  entries: readonly StoredEntry[],
  options: DeleteOptions,
  context: RequestContext,
): Promise<StoredEntry[]> {
  const deleted: StoredEntry[] = [];
  const queue = [...entries];
  const work = async () => {
    for (let entry = queue.shift(); entry !== undefined; entry = queue.shift()) {
      const { namespace = '', name } = registry.parse(entry).metadata;
      try {
        await deleteObject(registry, served, namespace, name, options, context);
        deleted.push(entry);
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, work));
  return deleted;
}
