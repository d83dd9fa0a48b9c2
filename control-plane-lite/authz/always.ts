// Authorizers that need no look at anything: for administrators, and for trials.
import type { Authorizer } from './authorizer.ts';

/** Allows the group that may do everything, so that no configuration shuts its members out. */
export const superuserAuthorizer: Authorizer = {
  authorize: ({ groups }) => ({ verdict: groups.includes('system:masters') ? 'allow' : 'noOpinion', reason: '' }),
};

export const alwaysAllow: Authorizer = { authorize: () => ({ verdict: 'allow', reason: '' }) };

export const alwaysDeny: Authorizer = {
  authorize: () => ({ verdict: 'noOpinion', reason: 'Everything is forbidden.' }),
};
