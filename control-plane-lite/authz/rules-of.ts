// What a user may do, as far as authorizers can list it: for `kubectl auth can-i --list`.
import type { PolicyRule } from '#kube/api/generated/rbac-v1.ts';
import type { UserInfo } from '../registry/request-context.ts';

export interface ListedRules {
  rules: readonly PolicyRule[];
  /** Why there may be more. */
  incomplete: readonly string[];
}

/** Lists what one authorizer allows a user in a namespace. */
export type RulesOf = (user: UserInfo, namespace: string) => ListedRules;

/** What several authorizers allow together. */
export function joinRules(sources: readonly RulesOf[]): RulesOf {
  return (user, namespace) => {
    const listed = sources.map((rulesOf) => rulesOf(user, namespace));
    return {
      rules: listed.flatMap(({ rules }) => rules),
      incomplete: listed.flatMap(({ incomplete }) => incomplete),
    };
  };
}

/** Of an authorizer that cannot list anything. */
export const unlisted =
  (name: string): RulesOf =>
  () => ({ rules: [], incomplete: [`${name} authorizer does not support user rule resolution`] });
