// Asks the authorizer about a user's further rights, while a write is decided. An answer that is at hand costs no waiting.
import type { AccessAttributes, AskingAuthorizer, Decision } from '../authz/authorizer.ts';
import type { UserInfo } from '../registry/request-context.ts';
import type { Wait } from '../registry/steps.ts';

/**
 * Asks about one access after the other until one is allowed. When none is, `otherwise` decides: it throws to refuse.
 * Answers with what there is to wait for, if anything.
 */
export function unlessAllowed(
  authorizer: AskingAuthorizer,
  user: UserInfo,
  accesses: readonly AccessAttributes[],
  otherwise: () => void,
): Wait | undefined {
  for (const [index, access] of accesses.entries()) {
    const asked = authorizer.decide(user, access);
    if (asked instanceof Promise) return () => finish(authorizer, user, accesses.slice(index + 1), asked, otherwise);
    if (asked.verdict === 'allow') return undefined;
  }
  otherwise();
  return undefined;
}

async function finish(
  authorizer: AskingAuthorizer,
  user: UserInfo,
  left: readonly AccessAttributes[],
  asked: Promise<Decision>,
  otherwise: () => void,
): Promise<void> {
  if ((await asked).verdict !== 'allow') await unlessAllowed(authorizer, user, left, otherwise)?.();
}
