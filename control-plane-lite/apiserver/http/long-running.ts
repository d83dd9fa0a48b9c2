// Requests that go on for as long as both sides like: no limit counts them, and no deadline ends them.
import type { RequestInfo } from './request-info.ts';

const subresources: ReadonlySet<string> = new Set(['attach', 'exec', 'log', 'portforward', 'proxy']);

/** As the reference has it: watches, and streams from and to agents. */
export function isLongRunning({ isResource, verb, subresource }: RequestInfo): boolean {
  return isResource && (verb === 'watch' || subresources.has(subresource));
}
