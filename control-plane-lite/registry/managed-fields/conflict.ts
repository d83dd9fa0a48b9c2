// The answer to an apply that would change fields of other managers.
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { printPath } from './field-set.ts';
import type { Manager } from './managers.ts';

export interface ApplyConflict {
  manager: Manager;
  path: readonly string[];
}

function printManager({ name, operation, apiVersion, subresource }: Manager): string {
  const quoted = JSON.stringify(name);
  if (operation === 'Apply') return quoted;
  return subresource === ''
    ? `${quoted} using ${apiVersion}`
    : `${quoted} with subresource ${JSON.stringify(subresource)} using ${apiVersion}`;
}

/** 409 with one cause for each field. */
export function applyConflicts(conflicts: readonly ApplyConflict[]): StatusError {
  const listed = conflicts.map(({ manager, path }) => ({ manager: printManager(manager), field: printPath(path) }));
  const causes = listed.map(({ manager, field }) => ({
    reason: 'FieldManagerConflict',
    message: `conflict with ${manager}`,
    field,
  }));
  const [first] = listed;
  if (listed.length === 1 && first !== undefined) {
    const message = `Apply failed with 1 conflict: conflict with ${first.manager}: ${first.field}`;
    return failure(409, 'Conflict', message, { causes });
  }
  const byManager = Map.groupBy(listed, ({ manager }) => manager);
  const parts = [...byManager]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([manager, fields]) => `conflicts with ${manager}:\n${fields.map(({ field }) => `- ${field}`).join('\n')}`);
  return failure(409, 'Conflict', `Apply failed with ${listed.length} conflicts: ${parts.join('\n')}`, { causes });
}
