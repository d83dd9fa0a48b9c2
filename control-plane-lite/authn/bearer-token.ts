// Users by bearer token: service account tokens meant for this server, and bootstrap tokens of joining nodes.

import type { UserInfo } from '../registry/request-context.ts';
import type { Authenticator } from './authenticator.ts';
import { unauthorized } from './authenticator.ts';
import type { ServiceAccountTokens } from './service-account-tokens.ts';

/** Reads a bearer token: from the Authorization header, or from the subprotocol that browsers are left with. */
export function bearerTokenOf(headers: {
  authorization?: string | undefined;
  'sec-websocket-protocol'?: string | undefined;
}): string | undefined {
  const match = /^Bearer\s+(\S+)\s*$/i.exec(headers.authorization ?? '');
  if (match !== null) return match[1];
  const prefix = 'base64url.bearer.authorization.k8s.io.';
  const protocol = (headers['sec-websocket-protocol'] ?? '').split(',').find((each) => each.trim().startsWith(prefix));
  if (protocol === undefined) return undefined;
  return Buffer.from(protocol.trim().slice(prefix.length), 'base64url').toString();
}

/** `bootstrap` looks a bootstrap token up. */
export function createBearerTokenAuthenticator(
  tokens: ServiceAccountTokens,
  bootstrap: (token: string, nowMs: number) => UserInfo | undefined,
  nowMs: () => number,
): Authenticator {
  return async (request) => {
    const token = bearerTokenOf(request.headers);
    if (token === undefined) return undefined;
    const now = nowMs();
    const joining = bootstrap(token, now);
    if (joining !== undefined) return joining;
    const verified = await tokens.verify(token, now);
    if (verified === undefined) throw unauthorized();
    if (!verified.audiences.some((audience) => tokens.audiences.includes(audience))) throw unauthorized();
    return verified.user;
  };
}
