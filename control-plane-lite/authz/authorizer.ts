// The contract of authorizers, and asking several of them in turn.
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { UserInfo } from '../registry/request-context.ts';
import type { AccessSelectors } from './access-selectors.ts';

/** Selectors only of list, watch and deletecollection. */
export interface ResourceAttributes extends AccessSelectors {
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
  /** What can be said at once. One that asks elsewhere says only what it has been told before. */
  authorize(user: UserInfo, access: AccessAttributes): Decision;
}

/** One that may have to ask elsewhere. */
export interface AskingAuthorizer extends Authorizer {
  /** The whole answer. Rejects when there is none. */
  decide(user: UserInfo, access: AccessAttributes): Decision | Promise<Decision>;
}

function internalError(errors: readonly unknown[]): StatusError {
  const texts = errors.map((error) => (error instanceof Error ? error.message : String(error)));
  const message = texts.length === 1 ? String(texts[0]) : `[${texts.join(', ')}]`;
  return failure(500, 'InternalError', `Internal error occurred: ${message}`, { causes: [{ message }] });
}

/**
 * Asks each in order until one allows or denies. `decide` throws StatusError 500 when none did, and one of them could
 * not say.
 */
export function unionAuthorizer(authorizers: readonly (Authorizer | AskingAuthorizer)[]): AskingAuthorizer {
  const refusal = (reasons: readonly string[]): Decision => ({ verdict: 'noOpinion', reason: reasons.join(', ') });
  const askFrom = async (
    start: number,
    pending: Promise<Decision>,
    reasons: string[],
    user: UserInfo,
    access: AccessAttributes,
  ): Promise<Decision> => {
    const errors: unknown[] = [];
    let answer: Decision | Promise<Decision> = pending;
    for (let index = start; ; index += 1) {
      try {
        const decision = await answer;
        if (decision.verdict !== 'noOpinion') return decision;
        if (decision.reason !== '') reasons.push(decision.reason);
      } catch (error) {
        errors.push(error);
      }
      const next = authorizers[index];
      if (next === undefined) break;
      answer = 'decide' in next ? next.decide(user, access) : next.authorize(user, access);
    }
    if (errors.length > 0) throw internalError(errors);
    return refusal(reasons);
  };
  return {
    authorize: (user, access) => {
      const reasons: string[] = [];
      for (const authorizer of authorizers) {
        const decision = authorizer.authorize(user, access);
        if (decision.verdict !== 'noOpinion') return decision;
        if (decision.reason !== '') reasons.push(decision.reason);
      }
      return refusal(reasons);
    },
    decide: (user, access) => {
      const reasons: string[] = [];
      for (const [index, authorizer] of authorizers.entries()) {
        const decision = 'decide' in authorizer ? authorizer.decide(user, access) : authorizer.authorize(user, access);
        if (decision instanceof Promise) return askFrom(index + 1, decision, reasons, user, access);
        if (decision.verdict !== 'noOpinion') return decision;
        if (decision.reason !== '') reasons.push(decision.reason);
      }
      return refusal(reasons);
    },
  };
}
