// How a policy's refusal is answered to the client. Pure.
import { StatusError } from '#kube/errors/status-error.ts';
import { forbidden } from '../../registry/status-errors.ts';
import type { AdmissionAttributes } from '../matching/admission-attributes.ts';

const codes: Record<string, number> = { Forbidden: 403, Unauthorized: 401, RequestEntityTooLarge: 413, Invalid: 422 };

/** The refusal of a policy, with the code of its reason. */
export function deniedByPolicy(
  { served, name }: AdmissionAttributes,
  message: string,
  reason = 'Invalid',
): StatusError {
  const { status } = forbidden(served.resource, name, message);
  return new StatusError({
    ...status,
    reason,
    code: codes[reason] ?? 422,
    details: { ...status.details, causes: [...(status.details?.causes ?? []), { message }] },
  });
}
