// The answer to a request that no authorizer allows, in the reference's words.
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { AccessAttributes } from '../authz/authorizer.ts';
import type { UserInfo } from '../registry/request-context.ts';

/** 403 with who, what and where. */
export function forbiddenAccess(user: UserInfo, access: AccessAttributes, reason: string): StatusError {
  const who = `User ${JSON.stringify(user.username)}`;
  const why = reason === '' ? '' : `: ${reason}`;
  if (!access.isResource) {
    const message = `forbidden: ${who} cannot ${access.verb} path ${JSON.stringify(access.path)}${why}`;
    return failure(403, 'Forbidden', message, {});
  }
  const { group, resource, subresource, name, namespace, verb } = access;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace ${JSON.stringify(namespace)}`;
  const named = name === '' ? '' : ` ${JSON.stringify(name)}`;
  const qualified = group === '' ? resource : `${resource}.${group}`;
  const action = `${who} cannot ${verb} resource ${JSON.stringify(what)} in API group ${JSON.stringify(group)} ${where}`;
  const details = { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind: resource };
  return failure(403, 'Forbidden', `${qualified}${named} is forbidden: ${action}${why}`, details);
}
