// Errors of CSI drivers, in the words in which gRPC clients of other components print them.
import { type ServiceError, status } from '@grpc/grpc-js';
import { CriError } from '../../cri/cri-error.ts';

/** A call that a driver refused or did not answer. */
export class CsiError extends Error {
  readonly code: string;

  constructor(code: string, details: string, options?: ErrorOptions) {
    super(`rpc error: code = ${code} desc = ${details}`, options);
    this.name = 'CsiError';
    this.code = code;
  }
}

/** NOT_FOUND as NotFound. */
function codeName(code: number): string {
  const words = (status[code] ?? 'UNKNOWN').toLowerCase().split('_');
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  return name === 'Cancelled' ? 'Canceled' : name;
}

/** The driver's own answer out of an error of the channel; other errors stay what they are. */
export function mapCsiError(error: unknown): unknown {
  if (!(error instanceof CriError)) return error;
  const { code } = error.cause as ServiceError;
  return new CsiError(codeName(code), error.message, { cause: error });
}

/** The driver does not know the volume: there is nothing left to undo. */
export function isCsiNotFound(error: unknown): boolean {
  return error instanceof CsiError && error.code === 'NotFound';
}
