// Errors of the Kubernetes API, on both sides of the wire.
import type { Status, StatusCause, StatusDetails } from '../api/generated/meta-v1.ts';

/** An API `Status` as an exception: thrown by the client for any answer that is not 2xx, and by the server to answer so. */
export class StatusError extends Error {
  /** The Status' reason, for example NotFound. Empty where the server gave none. */
  readonly code: string;
  readonly status: Status;

  constructor(status: Status, options?: ErrorOptions) {
    super(status.message ?? `the server answered ${status.code ?? 'an error'}`, options);
    this.name = 'StatusError';
    this.code = status.reason ?? '';
    this.status = status;
  }

  get httpCode(): number {
    return this.status.code ?? 500;
  }

  get causes(): StatusCause[] {
    return this.status.details?.causes ?? [];
  }

  /** Seconds after which the server asks to try again. */
  get retryAfterSeconds(): number | undefined {
    return this.status.details?.retryAfterSeconds;
  }
}

/** Builds a failure Status in the server's own form. */
export function failure(code: number, reason: string, message: string, details?: StatusDetails): StatusError {
  const status: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
  if (details !== undefined) status.details = details;
  return new StatusError(status);
}

function hasReason(error: unknown, reason: string): boolean {
  return error instanceof StatusError && error.code === reason;
}

export const isNotFound = (error: unknown): boolean => hasReason(error, 'NotFound');
export const isAlreadyExists = (error: unknown): boolean => hasReason(error, 'AlreadyExists');
export const isConflict = (error: unknown): boolean => hasReason(error, 'Conflict');
export const isInvalid = (error: unknown): boolean => hasReason(error, 'Invalid');
export const isTooManyRequests = (error: unknown): boolean => hasReason(error, 'TooManyRequests');
/** The resourceVersion asked for is no longer held: list again. */
export const isGone = (error: unknown): boolean => hasReason(error, 'Expired') || hasReason(error, 'Gone');
/** The namespace is being deleted: nothing can be created in it any more. */
export function isNamespaceTerminating(error: unknown): boolean {
  return error instanceof StatusError && error.causes.some((cause) => cause.reason === 'NamespaceTerminating');
}
/** The revision asked for is newer than any the server knows: it was restored or replaced. */
export function isResourceVersionTooLarge(error: unknown): boolean {
  return error instanceof StatusError && error.causes.some((cause) => cause.reason === 'ResourceVersionTooLarge');
}
