// Reads a request's body into memory, up to the size that the reference takes.
import type { IncomingMessage } from 'node:http';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { badRequest } from '../../registry/status-errors.ts';

const limitBytes = 3 * 1024 * 1024;

/** Bodies that are asked for again when the request is over. */
const kept = new WeakMap<IncomingMessage, Buffer>();

/** Has the body of a request kept once it is read. */
export function keepBody(request: IncomingMessage): void {
  kept.set(request, Buffer.alloc(0));
}

/** The body that was kept, if it was read. */
export const bodyOf = (request: IncomingMessage): Buffer | undefined => kept.get(request);

function tooLarge(): StatusError {
  return failure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`);
}

/**
 * The whole body. Rejects with StatusError 413 when it is too large: the rest is left unread, and the connection is
 * closed after the answer.
 */
export function readBody(request: IncomingMessage): Promise<Buffer> {
  const read = receive(request);
  if (kept.has(request)) read.then((body) => kept.set(request, body)).catch(() => undefined);
  return read;
}

function receive(request: IncomingMessage): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>();
  const chunks: Buffer[] = [];
  let size = 0;
  const onData = (chunk: Buffer) => {
    size += chunk.length;
    chunks.push(chunk);
    if (size > limitBytes) {
      request.pause();
      finish(() => reject(tooLarge()));
    }
  };
  const onEnd = () =>
    finish(() => {
      const [first] = chunks;
      resolve(chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, size));
    });
  const onClose = () => finish(() => reject(badRequest('the request ended before its body')));
  const finish = (settle: () => void) => {
    request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose);
    settle();
  };
  if (Number(request.headers['content-length'] ?? 0) > limitBytes) reject(tooLarge());
  else request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose);
  return promise;
}
