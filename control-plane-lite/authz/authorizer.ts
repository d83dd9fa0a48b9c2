// The contract of authorizers, and asking several of them in turn.
import type { UserInfo } from '../registry/request-context.ts';

export interface ResourceAttributes {
  verb: string;
  group: string;
  version: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
}

export interface NonResourceAttributes {
  verb: string;
  path: string;
}

export type AccessAttributes =
  | ({ isResource: true } & ResourceAttributes)
  | ({ isResource: false } & NonResourceAttributes);

/** `noOpinion` lets the next authorizer decide; if none allows, the request is refused. */
export interface Decision {
  verdict: 'allow' | 'deny' | 'noOpinion';
  reason: string;
}

export interface Authorizer {
  authorize(user: UserInfo, access: AccessAttributes): Decision;
}

/** Asks each in order until one allows or denies. */
export function unionAuthorizer(authorizers: readonly Authorizer[]): Authorizer {
  return {
    authorize: (user, access) => {
      const reasons: string[] = [];
      for (const authorizer of authorizers) {
        const decision = authorizer.authorize(user, access);
        if (decision.verdict !== 'noOpinion') return decision;
        if (decision.reason !== '') reasons.push(decision.reason);
      }
      return { verdict: 'noOpinion', reason: reasons.join(', ') };
    },
  };
}
