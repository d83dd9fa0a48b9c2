// SelfSubjectRulesReview and SelfSubjectReview: what may I do here, and who am I.
import type { PolicyRule } from '#kube/api/generated/rbac-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { RulesOf } from '../../authz/rules-of.ts';
import { timestamp } from '../../registry/object-meta.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { ResourceHandler } from '../api-context.ts';
import { readPosted } from '../handlers/read-posted.ts';
import { sendObject } from '../http/exchange.ts';

function resourceRule({ verbs, apiGroups, resources, resourceNames }: PolicyRule): object {
  return {
    verbs,
    ...(apiGroups === undefined ? {} : { apiGroups }),
    ...(resources === undefined ? {} : { resources }),
    ...(resourceNames === undefined ? {} : { resourceNames }),
  };
}

/** The rules that the caller has in a namespace. */
export function createRulesReviewHandler(rulesOf: RulesOf): ResourceHandler {
  return async (api, exchange) => {
    const kind = { group: 'authorization.k8s.io', version: 'v1', kind: 'SelfSubjectRulesReview' };
    const review = (await readPosted(api, exchange, kind)) as KubeObject & { spec: { namespace?: string } };
    const namespace = review.spec.namespace ?? '';
    if (namespace === '') throw badRequest('no namespace on request');
    const { rules, incomplete } = rulesOf(exchange.user, namespace);
    sendObject(exchange, 201, {
      ...review,
      status: {
        resourceRules: rules.filter(({ resources }) => (resources ?? []).length > 0).map(resourceRule),
        nonResourceRules: rules
          .filter(({ nonResourceURLs }) => (nonResourceURLs ?? []).length > 0)
          .map(({ verbs, nonResourceURLs }) => ({ verbs, nonResourceURLs })),
        incomplete: incomplete.length > 0,
        ...(incomplete.length > 0 ? { evaluationError: incomplete.join(', ') } : {}),
      },
    });
  };
}

/** Who the server takes the caller for. */
export const selfSubjectReview: ResourceHandler = (_api, exchange) => {
  const { username, uid, groups, extra } = exchange.user;
  sendObject(exchange, 201, {
    kind: 'SelfSubjectReview',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { creationTimestamp: timestamp(exchange.nowMs) },
    status: {
      userInfo: { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) },
    },
  });
};
