// The answer to a query parameter of a write that cannot be. The reference names the options of the verb.
import { failure, type StatusError } from '#kube/errors/status-error.ts';

const optionKinds: Record<string, string> = {
  update: 'UpdateOptions',
  patch: 'PatchOptions',
  delete: 'DeleteOptions',
  deletecollection: 'DeleteOptions',
};

/** A 422 for one option of a request with this verb. */
export function invalidOption(verb: string, field: string, reason: string, message: string): StatusError {
  const kind = optionKinds[verb] ?? 'CreateOptions';
  return failure(422, 'Invalid', `${kind}.meta.k8s.io "" is invalid: ${field}: ${message}`, {
    group: 'meta.k8s.io',
    kind,
    causes: [{ reason, message, field }],
  });
}
