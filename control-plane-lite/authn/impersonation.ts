// Acting as another user by Impersonate headers, for those who may.
import type { IncomingMessage } from 'node:http';
import type { Authorizer } from '../authz/authorizer.ts';
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

/** Returns the user to act as. Throws StatusError 403 when that is not allowed. */
export function createImpersonation(authorizer: Authorizer): (request: IncomingMessage, user: UserInfo) => UserInfo {
  const check = (user: UserInfo, resource: string, name: string, namespace = '', group = '', subresource = '') => {
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
    const { verdict, reason } = authorizer.authorize(user, access);
    if (verdict === 'allow') return;
    const action = `User ${JSON.stringify(user.username)} cannot impersonate resource ${JSON.stringify(resource)} in API group ${JSON.stringify(group)} at the cluster scope`;
    throw forbidden({ group, plural: resource }, name, reason === '' ? action : `${action}: ${reason}`);
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
    const account = serviceAccountUser.exec(username);
    if (account !== null) check(user, 'serviceaccounts', account[2] ?? '', account[1] ?? '');
    else check(user, 'users', username);
    for (const group of groups) check(user, 'groups', group);
    const extra: Record<string, string[]> = {};
    for (const header of extraHeaders) {
      const key = decodeURIComponent(header.slice(extraPrefix.length));
      const values = valuesOf(request, header);
      for (const value of values) check(user, 'userextras', value, '', 'authentication.k8s.io', key);
      extra[key] = values;
    }
    if (typeof uid === 'string') check(user, 'uids', uid, '', 'authentication.k8s.io');
    const implied = account === null ? [] : serviceAccountGroups(account[1] ?? '');
    const acting: UserInfo = {
      username,
      groups: groups.length > 0 ? groups : implied,
      ...(typeof uid === 'string' ? { uid } : {}),
      ...(Object.keys(extra).length > 0 ? { extra } : {}),
    };
    return username === 'system:anonymous' ? acting : authenticated(acting);
  };
}
