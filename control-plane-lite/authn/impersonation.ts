// Acting as another user by Impersonate headers, for those who may.
import type { IncomingMessage } from 'node:http';
import type { AskingAuthorizer } from '../authz/authorizer.ts';
import type { UserInfo } from '../registry/request-context.ts';
import { badRequest, forbidden } from '../registry/status-errors.ts';
import { authenticated } from './authenticator.ts';

const extraPrefix = 'impersonate-extra-';
const serviceAccountUser = /^system:serviceaccount:([^:]+):([^:]+)$/;

function valuesOf(request: IncomingMessage, header: string): string[] {
  const values: string[] = [];
  for (let at = 0; at < request.rawHeaders.length; at += 2) {
    const value = request.rawHeaders[at + 1];
    if (request.rawHeaders[at]?.toLowerCase() === header && value !== undefined) values.push(value);
  }
  return values;
}

/** The groups that every service account is in. */
export function serviceAccountGroups(namespace: string): string[] {
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`];
}

/** Keys of further attributes come in the form of URLs. */
function decodeKey(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw badRequest(`the header ${extraPrefix}${text} is not well encoded`);
  }
}

/** Returns the user to act as. Throws StatusError 403 when that is not allowed. */
export function createImpersonation(
  authorizer: AskingAuthorizer,
): (request: IncomingMessage, user: UserInfo) => Promise<UserInfo> | UserInfo {
  const check = async (
    user: UserInfo,
    resource: string,
    name: string,
    namespace = '',
    group = '',
    subresource = '',
  ) => {
    const access = {
      isResource: true,
      verb: 'impersonate',
      group,
      version: 'v1',
      resource,
      subresource,
      namespace,
      name,
    } as const;
    const { verdict, reason } = await authorizer.decide(user, access);
    if (verdict === 'allow') return;
    const action = `User ${JSON.stringify(user.username)} cannot impersonate resource ${JSON.stringify(resource)} in API group ${JSON.stringify(group)} at the cluster scope`;
    throw forbidden({ group, plural: resource }, name, reason === '' ? action : `${action}: ${reason}`);
  };
  const actAs = async (
    request: IncomingMessage,
    user: UserInfo,
    username: string,
    uid: string | string[] | undefined,
    extraHeaders: readonly string[],
  ): Promise<UserInfo> => {
    const groups = valuesOf(request, 'impersonate-group');
    const account = serviceAccountUser.exec(username);
    if (account !== null) await check(user, 'serviceaccounts', account[2] ?? '', account[1] ?? '');
    else await check(user, 'users', username);
    for (const group of groups) await check(user, 'groups', group);
    const extra = new Map<string, string[]>();
    for (const header of extraHeaders) {
      const key = decodeKey(header.slice(extraPrefix.length));
      const values = valuesOf(request, header);
      for (const value of values) await check(user, 'userextras', value, '', 'authentication.k8s.io', key);
      extra.set(key, values);
    }
    if (typeof uid === 'string') await check(user, 'uids', uid, '', 'authentication.k8s.io');
    const implied = account === null ? [] : serviceAccountGroups(account[1] ?? '');
    const acting: UserInfo = {
      username,
      groups: groups.length > 0 ? groups : implied,
      ...(typeof uid === 'string' ? { uid } : {}),
      ...(extra.size > 0 ? { extra: Object.fromEntries(extra) } : {}),
    };
    return username === 'system:anonymous' ? acting : authenticated(acting);
  };

  return (request, user) => {
    const { headers } = request;
    const username = headers['impersonate-user'];
    const groups = valuesOf(request, 'impersonate-group');
    const uid = headers['impersonate-uid'];
    const extraHeaders = Object.keys(headers).filter((name) => name.startsWith(extraPrefix));
    if (typeof username !== 'string' || username === '') {
      if (groups.length > 0 || uid !== undefined || extraHeaders.length > 0) {
        throw badRequest('requested impersonation without impersonating a user');
      }
      return user;
    }
    return actAs(request, user, username, uid, extraHeaders);
  };
}
