// The contract of authentication, and trying several ways in turn.
import type { IncomingMessage } from 'node:http';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { UserInfo } from '../registry/request-context.ts';

/** Who sent a request; undefined when it carries nothing this authenticator knows. Throws StatusError 401 for wrong credentials. */
export type Authenticator = (request: IncomingMessage) => Promise<UserInfo | undefined> | UserInfo | undefined;

export const authenticatedGroup = 'system:authenticated';

export const anonymousUser: UserInfo = { username: 'system:anonymous', groups: ['system:unauthenticated'] };

export function unauthorized(): StatusError {
  return failure(401, 'Unauthorized', 'Unauthorized');
}

/** The user with the group that every authenticated one is in. */
export function authenticated(user: UserInfo): UserInfo {
  return user.groups.includes(authenticatedGroup) ? user : { ...user, groups: [...user.groups, authenticatedGroup] };
}

/** Asks each in order; a request that carries no credentials is anonymous. */
export function chainAuthenticators(
  authenticators: readonly Authenticator[],
): (request: IncomingMessage) => Promise<UserInfo> {
  return async (request) => {
    for (const authenticate of authenticators) {
      const user = await authenticate(request);
      if (user !== undefined) return authenticated(user);
    }
    return anonymousUser;
  };
}
