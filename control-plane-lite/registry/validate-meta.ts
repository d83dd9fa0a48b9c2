// Rules of metadata that hold for every kind; the rules of kinds are in validation/.
import type { KubeObject } from '#kube/api/resource.ts';
import { type FieldError, forbiddenField, invalidField } from '#kube/errors/field-error.ts';

/** Immutable metadata, compared between the object to be stored and the stored one. */
export function validateMetaUpdate(object: KubeObject, previous: KubeObject, requestedUid: string): FieldError[] {
  const errors: FieldError[] = [];
  if (requestedUid !== '' && requestedUid !== previous.metadata.uid) {
    errors.push(invalidField('metadata.uid', requestedUid, 'field is immutable'));
  }
  if (previous.metadata.deletionTimestamp !== undefined) {
    const before = new Set(previous.metadata.finalizers ?? []);
    const added = (object.metadata.finalizers ?? []).filter((finalizer) => !before.has(finalizer));
    if (added.length > 0) {
      const list = added.map((name) => JSON.stringify(name)).join(', ');
      errors.push(
        forbiddenField(
          'metadata.finalizers',
          `no new finalizers can be added if the object is being deleted, found new finalizers []string{${list}}`,
        ),
      );
    }
  }
  return errors;
}
