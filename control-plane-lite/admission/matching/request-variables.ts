// The variables that expressions of webhooks and policies share: `object`, `oldObject`, `request`, `authorizer`.
import { selectorsOfQuery } from '../../authz/access-selectors.ts';
import type { Authorizer } from '../../authz/authorizer.ts';
import type { AskAccess } from '../../cel/libraries/authorizer.ts';
import { authorizerValue } from '../../cel/libraries/authorizer.ts';
import { toCelValue } from '../../cel/values.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import { optionsOf, userInfoOf } from '../webhook/admission-review.ts';
import { type AdmissionAttributes, groupVersionResource } from './admission-attributes.ts';

function askAs(user: UserInfo, authorizer: Authorizer): AskAccess {
  return ({ path, verb, serviceAccount, group, resource, subresource, namespace, name, ...selectors }) => {
    const { fieldSelector = '', labelSelector = '' } = selectors;
    const asked: UserInfo =
      serviceAccount === undefined
        ? user
        : {
            username: `system:serviceaccount:${serviceAccount.namespace}:${serviceAccount.name}`,
            groups: [
              'system:serviceaccounts',
              `system:serviceaccounts:${serviceAccount.namespace}`,
              'system:authenticated',
            ],
          };
    const access =
      path === undefined
        ? {
            isResource: true as const,
            ...{ verb, group, version: '*', resource, subresource, namespace, name },
            ...selectorsOfQuery(fieldSelector, labelSelector),
          }
        : { isResource: false as const, verb, path };
    const { verdict, reason } = authorizer.authorize(asked, access);
    return { allowed: verdict === 'allow', reason };
  };
}

/** `original` is the request as it came, `shown` in the version in which it is looked at. */
export function requestVariables(
  shown: AdmissionAttributes,
  original: AdmissionAttributes,
  authorizer: Authorizer,
): Record<string, unknown> {
  const { request, operation, name, namespace, subresource, served, kind } = shown;
  const { user, dryRun } = request.context;
  const { resource } = served;
  return {
    object: shown.object === undefined ? null : toCelValue(shown.object),
    oldObject: shown.oldObject === undefined ? null : toCelValue(shown.oldObject),
    request: toCelValue({
      kind: { group: kind.group, version: kind.version, kind: kind.kind },
      resource: groupVersionResource(resource),
      ...(subresource === '' ? {} : { subResource: subresource }),
      requestKind: { group: original.kind.group, version: original.kind.version, kind: original.kind.kind },
      requestResource: groupVersionResource(original.served.resource),
      ...(subresource === '' ? {} : { requestSubResource: subresource }),
      name,
      ...(namespace === '' ? {} : { namespace }),
      operation,
      userInfo: userInfoOf(user),
      dryRun,
      options: optionsOf(request),
    }),
    authorizer: authorizerValue(askAs(user, authorizer), {
      group: resource.group,
      resource: resource.plural,
      subresource,
      namespace,
      name,
    }),
  };
}
