// What ties the events of a request together, and the answer to them.
import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

const idPattern = /^[\w.:/-]{1,64}$/;

/** The id that a client gives its request, or one of our own. */
export function auditIdOf(request: IncomingMessage): string {
  const given = request.headers['audit-id'];
  return typeof given === 'string' && idPattern.test(given) ? given : randomUUID();
}
