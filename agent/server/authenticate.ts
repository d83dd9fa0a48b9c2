// Who is calling: a client certificate of the configured authority, or a bearer token that the API server knows.
import { createHash } from 'node:crypto';
import type { IncomingMessage } from 'node:http';
import { TLSSocket } from 'node:tls';
import type { TokenReview } from '#kube/api/generated/authentication-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { ServerSettings } from '../config/settings.ts';
import { createExpiringCache } from './expiring-cache.ts';

/** A caller. */
export interface Caller {
  name: string;
  uid: string;
  groups: string[];
  extra: Record<string, string[]>;
}

/** Undefined when the caller cannot be told and anonymous calls are not allowed. */
export type Authenticate = (request: IncomingMessage) => Promise<Caller | undefined>;

const anonymous: Caller = { name: 'system:anonymous', uid: '', groups: ['system:unauthenticated'], extra: {} };

function list(value: string | string[] | undefined): string[] {
  return value === undefined ? [] : Array.isArray(value) ? value : [value];
}

function fromCertificate(request: IncomingMessage): Caller | undefined {
  const { socket } = request;
  if (!(socket instanceof TLSSocket) || !socket.authorized) return undefined;
  const subject: Record<string, string | string[] | undefined> = { ...socket.getPeerCertificate().subject };
  const [name] = list(subject['CN']);
  if (name === undefined || name === '') return undefined;
  return { name, uid: '', groups: [...list(subject['O']), 'system:authenticated'], extra: {} };
}

function bearerToken(request: IncomingMessage): string | undefined {
  return /^Bearer\s+(\S+)$/i.exec(request.headers.authorization ?? '')?.[1];
}

/** Builds the check of this configuration. */
export function createAuthenticate(client: ApiClient, clock: Clock, settings: ServerSettings): Authenticate {
  const known = createExpiringCache<Caller>(clock);

  async function fromToken(token: string): Promise<Caller | undefined> {
    // Tokens themselves are not kept.
    const key = createHash('sha256').update(token).digest('hex');
    const cached = known.get(key);
    if (cached !== undefined) return cached;
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', metadata: {}, spec: { token } };
    const path = '/apis/authentication.k8s.io/v1/tokenreviews';
    const { status } = await client.raw<TokenReview>({ method: 'POST', path, body });
    if (status?.authenticated !== true || status.user === undefined) return undefined;
    const { username = '', uid = '', groups = [], extra = {} } = status.user;
    const caller = { name: username, uid, groups, extra };
    known.set(key, caller, settings.authenticationCacheMs);
    return caller;
  }

  return async (request) => {
    const certified = fromCertificate(request);
    if (certified !== undefined) return certified;
    const token = bearerToken(request);
    if (token !== undefined) return settings.webhookAuthentication ? fromToken(token) : undefined;
    return settings.anonymous ? anonymous : undefined;
  };
}
