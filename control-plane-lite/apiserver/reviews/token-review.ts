// TokenReview: whether a token is good, and whose. Agents ask it for those who call them.
import type { TokenReview } from '#kube/api/generated/authentication-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { authenticated } from '../../authn/authenticator.ts';
import type { ServiceAccountTokens } from '../../authn/service-account-tokens.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { ResourceHandler } from '../api-context.ts';
import { readPosted } from '../handlers/read-posted.ts';
import { sendObject } from '../http/exchange.ts';

async function review(
  tokens: ServiceAccountTokens,
  bootstrap: (token: string, nowMs: number) => UserInfo | undefined,
  spec: TokenReview['spec'],
  nowMs: number,
): Promise<object> {
  const token = spec.token ?? '';
  const wanted = (spec.audiences ?? []).length > 0 ? (spec.audiences ?? []) : tokens.audiences;
  const joining = bootstrap(token, nowMs);
  const verified =
    joining === undefined ? await tokens.verify(token, nowMs) : { user: joining, audiences: [...tokens.audiences] };
  if (verified === undefined) return { user: {}, error: 'invalid bearer token' };
  const audiences = verified.audiences.filter((audience) => wanted.includes(audience));
  if (audiences.length === 0) {
    const error = `token audiences ${JSON.stringify(verified.audiences)} is invalid for the target audiences ${JSON.stringify(wanted)}`;
    return { user: {}, error };
  }
  const { username, uid, groups, extra } = authenticated(verified.user);
  return {
    authenticated: true,
    user: { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) },
    audiences,
  };
}

export function createTokenReviewHandler(
  tokens: ServiceAccountTokens,
  bootstrap: (token: string, nowMs: number) => UserInfo | undefined,
): ResourceHandler {
  return async (api, exchange) => {
    const kind = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenReview' };
    const posted = (await readPosted(api, exchange, kind)) as KubeObject & TokenReview;
    if ((posted.spec.token ?? '') === '') throw badRequest('token is required for TokenReview in authentication');
    const status = await review(tokens, bootstrap, posted.spec, exchange.nowMs);
    sendObject(exchange, 201, { ...posted, spec: { ...posted.spec, token: '' }, status });
  };
}
