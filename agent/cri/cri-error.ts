// Errors of the container runtime: the one place that knows gRPC status codes.
import { type ServiceError, status } from '@grpc/grpc-js';

/** What kind of failure a runtime reported. */
export type CriErrorCode =
  | 'NotFound'
  | 'AlreadyExists'
  | 'DeadlineExceeded'
  | 'Unavailable'
  | 'Unimplemented'
  | 'Cancelled'
  | 'Unknown';

/** A CRI call that failed. `message` is the runtime's own text, as events and statuses show it. */
export class CriError extends Error {
  readonly code: CriErrorCode;
  /** The call, for example RunPodSandbox. */
  readonly call: string;

  constructor(call: string, code: CriErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'CriError';
    this.code = code;
    this.call = call;
  }
}

const codes = new Map<number, CriErrorCode>([
  [status.NOT_FOUND, 'NotFound'],
  [status.ALREADY_EXISTS, 'AlreadyExists'],
  [status.DEADLINE_EXCEEDED, 'DeadlineExceeded'],
  [status.UNAVAILABLE, 'Unavailable'],
  [status.UNIMPLEMENTED, 'Unimplemented'],
  [status.CANCELLED, 'Cancelled'],
]);

/** Maps an error of a gRPC call. */
export function mapServiceError(call: string, error: ServiceError): CriError {
  return new CriError(call, codes.get(error.code) ?? 'Unknown', error.details || error.message, { cause: error });
}

function hasCode(error: unknown, code: CriErrorCode): boolean {
  return error instanceof CriError && error.code === code;
}

/** The sandbox, container or image does not exist. */
export const isCriNotFound = (error: unknown): boolean => hasCode(error, 'NotFound');
/** The runtime does not offer this call. */
export const isCriUnimplemented = (error: unknown): boolean => hasCode(error, 'Unimplemented');
/** The call took longer than its limit. */
export const isCriDeadlineExceeded = (error: unknown): boolean => hasCode(error, 'DeadlineExceeded');
