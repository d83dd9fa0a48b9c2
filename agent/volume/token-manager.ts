// Service account tokens for pods: asked for once, used until 80 % of their life or a day has passed, then renewed
// (pkg/kubelet/token/token_manager.go). Tokens are never logged.
import type { TokenRequest } from '#kube/api/generated/authentication-v1.ts';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { serviceaccounts } from '#kube/api/generated/resources.ts';
import { parseTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';

const maxAgeMs = 24 * 3600 * 1000;
const maxJitterMs = 10_000;

/** Which token. */
export interface TokenSpec {
  audience: string | undefined;
  expirationSeconds: number;
}

/** A token, and until when it can be used. */
export interface IssuedToken {
  token: string;
  expiresAtMs: number;
}

export interface TokenManager {
  issue(pod: Pod, spec: TokenSpec, signal?: AbortSignal): Promise<IssuedToken>;
  token(pod: Pod, spec: TokenSpec, signal?: AbortSignal): Promise<string>;
  /** Drops the tokens of a pod that is gone. */
  release(podUid: string): void;
}

interface Held extends IssuedToken {
  issuedAtMs: number;
}

/** Creates the manager; `random` spreads renewals. */
export function createTokenManager(client: ApiClient, clock: Clock, random: () => number = Math.random): TokenManager {
  const held = new Map<string, Held>();

  function isFresh({ issuedAtMs, expiresAtMs }: Held): boolean {
    const now = clock.now();
    const renewAfterMs = Math.min((expiresAtMs - issuedAtMs) * 0.8, maxAgeMs) - random() * maxJitterMs;
    return now < issuedAtMs + renewAfterMs;
  }

  async function request(pod: Pod, spec: TokenSpec, signal: AbortSignal | undefined): Promise<Held> {
    const { name, namespace, uid } = pod.metadata;
    const body = {
      apiVersion: 'authentication.k8s.io/v1',
      kind: 'TokenRequest',
      metadata: {},
      spec: {
        ...(spec.audience === undefined || spec.audience === '' ? {} : { audiences: [spec.audience] }),
        expirationSeconds: spec.expirationSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid },
      },
    };
    const key = { namespace, name: pod.spec.serviceAccountName ?? 'default' };
    const issuedAtMs = clock.now();
    const answer = await client.createSubresource<typeof body, TokenRequest>(serviceaccounts, key, 'token', body, {
      signal,
    });
    const token = answer.status?.token;
    if (token === undefined) throw new Error(`the API server gave no token for service account ${key.name}`);
    const expiresAtMs = parseTime(answer.status?.expirationTimestamp) ?? issuedAtMs + spec.expirationSeconds * 1000;
    return { token, issuedAtMs, expiresAtMs };
  }

  async function issue(pod: Pod, spec: TokenSpec, signal?: AbortSignal): Promise<IssuedToken> {
    const key = `${pod.metadata.uid}|${pod.spec.serviceAccountName}|${spec.audience ?? ''}|${spec.expirationSeconds}`;
    const current = held.get(key);
    if (current !== undefined && isFresh(current)) return current;
    try {
      const next = await request(pod, spec, signal);
      held.set(key, next);
      return next;
    } catch (error) {
      // A token that is still valid serves until the API server can be reached again.
      if (current !== undefined && clock.now() < current.expiresAtMs) return current;
      throw error;
    }
  }

  return {
    issue,
    token: async (pod, spec, signal) => (await issue(pod, spec, signal)).token,
    release(podUid) {
      for (const key of held.keys()) if (key.startsWith(`${podUid}|`)) held.delete(key);
    },
  };
}
