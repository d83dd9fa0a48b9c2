// JSON patch, RFC 6902, with the failures of the reference.
import jsonPatch, { type Operation } from 'fast-json-patch';
import { failure } from '#kube/errors/status-error.ts';
import { badRequest } from '../registry/status-errors.ts';

const maxOperations = 10_000;

/** A patched copy of `target`. Throws StatusError 422 when an operation cannot be done or a test fails. */
export function applyJsonPatch(target: object, patch: unknown): unknown {
  if (!Array.isArray(patch)) {
    throw badRequest('error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  }
  if (patch.length > maxOperations) {
    const message = `The allowed maximum operations in a JSON patch is ${maxOperations}, got ${patch.length}`;
    throw failure(413, 'RequestEntityTooLarge', message);
  }
  try {
    return jsonPatch.applyPatch(structuredClone(target), patch as Operation[], true, true, true).newDocument;
  } catch (error) {
    throw failure(422, 'Invalid', 'the server rejected our request due to an error in our request', {
      causes: [{ message: error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error) }],
    });
  }
}
