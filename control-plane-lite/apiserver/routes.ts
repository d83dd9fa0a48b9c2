// Which handler serves which subresource and which computed resource.
import type { ServiceAccountTokens } from '../authn/service-account-tokens.ts';
import type { RulesOf } from '../authz/rules-of.ts';
import type { UserInfo } from '../registry/request-context.ts';
import { methodNotAllowed } from '../registry/status-errors.ts';
import type { ResourceHandler } from './api-context.ts';
import type { Routes } from './dispatch.ts';
import { componentStatuses } from './handlers/component-statuses.ts';
import { patchObject } from './handlers/patch.ts';
import { putObject } from './handlers/write.ts';
import type { ProxyHandlers } from './proxy/proxy-handlers.ts';
import { accessReviewHandlers } from './reviews/access-reviews.ts';
import { createRulesReviewHandler, selfSubjectReview } from './reviews/self-reviews.ts';
import { createTokenReviewHandler } from './reviews/token-review.ts';
import { postBinding } from './subresources/binding.ts';
import { postEviction } from './subresources/eviction.ts';
import { mainObjectHandlers } from './subresources/main-object.ts';
import { scaleHandlers } from './subresources/scale.ts';
import { createTokenHandler } from './subresources/token.ts';

export interface RouteDeps {
  tokens: ServiceAccountTokens;
  bootstrapTokens: (token: string, nowMs: number) => UserInfo | undefined;
  rulesOf: RulesOf;
  proxies: ProxyHandlers;
}

/** Proxied subresources take every verb that their discovery entry lists, and proxies OPTIONS, which has no verb. */
function proxyRoutes(proxies: ProxyHandlers): Record<string, Record<string, ResourceHandler>> {
  return Object.fromEntries(
    Object.entries(proxies.plain).map(([key, handler]) => {
      const options: ResourceHandler = async (api, exchange, served) => {
        if (exchange.request.method !== 'OPTIONS' || !key.endsWith('/proxy')) throw methodNotAllowed();
        await handler(api, exchange, served);
      };
      return [key, { get: handler, create: handler, update: handler, patch: handler, delete: handler, '': options }];
    }),
  );
}

export const createRoutes = ({ tokens, bootstrapTokens, rulesOf, proxies }: RouteDeps): Routes => ({
  subresources: {
    status: mainObjectHandlers,
    scale: scaleHandlers,
    'namespaces/finalize': { update: putObject, patch: patchObject },
    'certificatesigningrequests/approval': mainObjectHandlers,
    'pods/resize': mainObjectHandlers,
    'pods/ephemeralcontainers': mainObjectHandlers,
    'pods/binding': { create: postBinding },
    'pods/eviction': { create: postEviction },
    ...proxyRoutes(proxies),
    'serviceaccounts/token': { create: createTokenHandler(tokens) },
  },
  virtual: {
    '/bindings': postBinding,
    '/componentstatuses': componentStatuses,
    ...accessReviewHandlers,
    'authorization.k8s.io/selfsubjectrulesreviews': createRulesReviewHandler(rulesOf),
    'authentication.k8s.io/selfsubjectreviews': selfSubjectReview,
    'authentication.k8s.io/tokenreviews': createTokenReviewHandler(tokens, bootstrapTokens),
  },
});
