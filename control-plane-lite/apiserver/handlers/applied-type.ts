// What server-side apply asks of a configuration before it merges by type: the version of the request, and no field that
// the type does not have, however fields are validated otherwise.
import { decodeObject, TypeMismatchError } from '../../registry/decode-object.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import type { Schema } from '../../registry/schema.ts';
import { badRequest, unexplained } from '../../registry/status-errors.ts';

interface Applied {
  apiVersion?: unknown;
  metadata?: { name?: unknown; namespace?: unknown } | null;
}

function unknownFieldsOf(
  patch: Applied & Record<string, unknown>,
  { resource }: ServedResource,
  schema: Schema,
): string[] {
  try {
    return decodeObject(structuredClone(patch), schema.typeOf(resource), true);
  } catch (error) {
    // Values of the wrong type are answered when the configuration is decoded.
    if (error instanceof TypeMismatchError) return [];
    throw error;
  }
}

/** Throws StatusError for a configuration that cannot be merged. */
export function checkAppliedType(patch: unknown, served: ServedResource, schema: Schema): void {
  if (typeof patch !== 'object' || patch === null || Array.isArray(patch)) return;
  const applied = patch as Applied & Record<string, unknown>;
  if (applied.apiVersion !== served.apiVersion) {
    const versions = `Specified patch version: ${String(applied.apiVersion ?? '')}, expected: ${served.apiVersion}`;
    throw badRequest(`Incorrect version specified in apply patch. ${versions}`);
  }
  const problems = unknownFieldsOf(applied, served, schema).map((path) => `.${path}: field not declared in schema`);
  if (problems.length === 0) return;
  const { group, version, kind } = served.resource;
  const address = `${String(applied.metadata?.namespace ?? '')}/${String(applied.metadata?.name ?? '')}`;
  const why = problems.length === 1 ? problems[0] : `errors:\n${problems.map((text) => `  ${text}`).join('\n')}`;
  throw unexplained(`failed to create typed patch object (${address}; ${group}/${version}, Kind=${kind}): ${why}`);
}
