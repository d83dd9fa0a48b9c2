// Turns what a handler threw into the Status the client gets. Anything that is no StatusError is the server's own fault.
import type { Logger } from 'pino';
import { SelectorError } from '#kube/api/label-selector.ts';
import { failure, StatusError } from '#kube/errors/status-error.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { CompactedError, FutureRevisionError, StoreWriteError } from '../../storage/backend.ts';
import { type Exchange, sendObject } from './exchange.ts';

/** The StatusError for any failure. */
export function asStatusError(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  // A selector inside an object that nobody else checked.
  if (error instanceof SelectorError) return badRequest(error.message);
  // Only what a client sent can be nested so deeply.
  if (error instanceof RangeError && error.message.includes('call stack')) {
    return badRequest('the object provided is unrecognized: json: exceeded max depth');
  }
  if (error instanceof CompactedError) {
    return failure(410, 'Expired', 'The resourceVersion for the provided list is too old.');
  }
  if (error instanceof FutureRevisionError) {
    const message = `Timeout: Too large resource version: ${error.requested}, current: ${error.current}`;
    const causes = [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }];
    return failure(504, 'Timeout', message, { causes, retryAfterSeconds: 1 });
  }
  if (error instanceof StoreWriteError) {
    return failure(500, 'InternalError', `Internal error occurred: ${error.message}`, {
      causes: [{ message: error.message }],
    });
  }
  return failure(500, 'InternalError', 'Internal error occurred: see the log of the API server', {
    causes: [{ message: 'unexpected failure' }],
  });
}

/** Answers with a Status, unless the answer has begun: then the connection is cut. Never throws. */
export function sendError(exchange: Exchange, error: unknown, logger: Logger): void {
  try {
    answerError(exchange, error, logger);
  } catch (second) {
    logger.error({ err: second, url: exchange.request.url }, 'could not answer a failure');
    exchange.response.destroy();
  }
}

function answerError(exchange: Exchange, error: unknown, logger: Logger): void {
  const status = asStatusError(error);
  if (exchange.audit !== undefined) exchange.audit.failure = status.status;
  if (status.httpCode === 500 && status !== error) {
    logger.error({ err: error, method: exchange.request.method, url: exchange.request.url }, 'a request failed');
  }
  // Answered already: what was still being done when the deadline passed has failed now.
  if (exchange.response.writableEnded) return;
  if (exchange.response.headersSent) {
    exchange.response.destroy();
    return;
  }
  const retryAfter = status.retryAfterSeconds;
  if (retryAfter !== undefined) exchange.response.setHeader('Retry-After', retryAfter);
  if (status.httpCode === 413 && exchange.request.httpVersionMajor === 1)
    exchange.response.setHeader('Connection', 'close');
  sendObject(exchange, status.httpCode, status.status);
}
