// Reads a request's body into memory, up to the size that the reference takes.
import type { IncomingMessage } from 'node:http';
import { failure } from '#kube/errors/status-error.ts';

const limitBytes = 3 * 1024 * 1024;

/** The whole body. Throws StatusError 413 when it is too large. */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    const bytes = chunk as Buffer;
    size += bytes.length;
    if (size > limitBytes) {
      throw failure(413, 'RequestEntityTooLarge', `Request entity too large: limit is ${limitBytes}`);
    }
    chunks.push(bytes);
  }
  const [first] = chunks;
  return chunks.length === 1 && first !== undefined ? first : Buffer.concat(chunks, size);
}
