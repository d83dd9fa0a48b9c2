// What a caller may do: subresources of the node, decided by the API server and remembered for a while
// (pkg/kubelet/server/auth.go, with the fine-grained permissions of KEP-2862).
import type { SubjectAccessReview } from '#kube/api/generated/authorization-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { ServerSettings } from '../config/settings.ts';
import type { Caller } from './authenticate.ts';
import { createExpiringCache } from './expiring-cache.ts';

/** Undefined when allowed, else the reason for the answer 403. */
export type Authorize = (caller: Caller, method: string, path: string) => Promise<string | undefined>;

const verbs: Record<string, string> = {
  GET: 'get',
  HEAD: 'get',
  POST: 'create',
  PUT: 'update',
  PATCH: 'patch',
  DELETE: 'delete',
};

function isBelow(path: string, prefix: string): boolean {
  return path === prefix || path.startsWith(`${prefix}/`);
}

/** Subresources of nodes, any of which is enough; the most specific first. */
export function subresourcesOf(path: string): string[] {
  if (isBelow(path, '/stats')) return ['stats'];
  if (isBelow(path, '/metrics')) return ['metrics'];
  if (isBelow(path, '/logs')) return ['log'];
  if (isBelow(path, '/checkpoint')) return ['checkpoint'];
  if (isBelow(path, '/healthz')) return ['healthz', 'proxy'];
  if (isBelow(path, '/statusz')) return ['statusz', 'proxy'];
  if (isBelow(path, '/flagz')) return ['flagz', 'proxy'];
  if (isBelow(path, '/configz')) return ['configz', 'proxy'];
  if (isBelow(path, '/pods') || isBelow(path, '/runningpods')) return ['pods', 'proxy'];
  return ['proxy'];
}

/** Builds the check of this configuration. */
export function createAuthorize(
  client: ApiClient,
  clock: Clock,
  nodeName: string,
  settings: ServerSettings,
  observe: (code: string, durationMs: number) => void = () => undefined,
): Authorize {
  const decided = createExpiringCache<boolean>(clock);

  async function isAllowed(caller: Caller, verb: string, subresource: string): Promise<boolean> {
    const resourceAttributes = { verb, version: 'v1', resource: 'nodes', subresource, name: nodeName };
    const { name: user, uid, groups, extra } = caller;
    const key = JSON.stringify([user, uid, groups, extra, verb, subresource]);
    const before = decided.get(key);
    if (before !== undefined) return before;
    const spec = { user, groups, extra, ...(uid === '' ? {} : { uid }), resourceAttributes };
    const body = { apiVersion: 'authorization.k8s.io/v1', kind: 'SubjectAccessReview', metadata: {}, spec };
    const path = '/apis/authorization.k8s.io/v1/subjectaccessreviews';
    const startedMs = clock.monotonicMs();
    const answered = (code: string) => observe(code, clock.monotonicMs() - startedMs);
    const review = await client.raw<SubjectAccessReview>({ method: 'POST', path, body }).catch((error: unknown) => {
      answered(error instanceof StatusError ? `${error.status.code ?? 500}` : '<error>');
      throw error;
    });
    answered('201');
    const { status } = review;
    const allowed = status?.allowed === true;
    decided.set(key, allowed, allowed ? settings.allowedCacheMs : settings.deniedCacheMs);
    return allowed;
  }

  return async (caller, method, path) => {
    if (settings.authorization === 'AlwaysAllow') return undefined;
    const verb = verbs[method] ?? 'get';
    const candidates = subresourcesOf(path);
    for (const subresource of candidates) if (await isAllowed(caller, verb, subresource)) return undefined;
    const wanted = candidates.join(',');
    return `Forbidden (user=${caller.name}, verb=${verb}, resource=nodes, subresource(s)=[${wanted}])\n`;
  };
}
