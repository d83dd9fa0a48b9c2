// Asks a service of the administrator's whether requests are allowed, and remembers its answers for a while
// (k8s.io/apiserver: plugin/pkg/authorizer/webhook).
import type { AskingAuthorizer, Decision } from '../authorizer.ts';
import { decisionOf, type ReviewVersion, reviewOf } from './review-of.ts';

export interface WebhookAuthorizerDeps {
  version: ReviewVersion;
  authorizedTtlMs: number;
  unauthorizedTtlMs: number;
  /** Posts a review and resolves with the answer's object. */
  post(review: object): Promise<unknown>;
  nowMs(): number;
}

interface Remembered {
  decision: Decision;
  untilMs: number;
}

const maxRemembered = 8192;
/** Longer questions are asked each time: they would fill the memory. */
const maxKeyChars = 10_000;

export function createWebhookAuthorizer(deps: WebhookAuthorizerDeps): AskingAuthorizer {
  const { version, nowMs } = deps;
  const remembered = new Map<string, Remembered>();
  const recall = (key: string): Decision | undefined => {
    const known = remembered.get(key);
    if (known === undefined) return undefined;
    if (known.untilMs > nowMs()) return known.decision;
    remembered.delete(key);
    return undefined;
  };
  const remember = (key: string, decision: Decision) => {
    const ttlMs = decision.verdict === 'allow' ? deps.authorizedTtlMs : deps.unauthorizedTtlMs;
    if (ttlMs <= 0 || key.length > maxKeyChars) return;
    remembered.delete(key);
    remembered.set(key, { decision, untilMs: nowMs() + ttlMs });
    const [oldest] = remembered.keys();
    if (remembered.size > maxRemembered && oldest !== undefined) remembered.delete(oldest);
  };
  return {
    authorize: (user, access) =>
      recall(JSON.stringify(reviewOf(version, user, access))) ?? { verdict: 'noOpinion', reason: '' },
    decide: (user, access) => {
      const review = reviewOf(version, user, access);
      const key = JSON.stringify(review);
      const known = recall(key);
      if (known !== undefined) return known;
      return deps.post(review).then((answer) => {
        const decision = decisionOf(answer);
        remember(key, decision);
        return decision;
      });
    },
  };
}
