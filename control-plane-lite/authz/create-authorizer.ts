// The authorizers that the flags name, asked in that order; administrators come first, whatever is configured.
import { readFileSync } from 'node:fs';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { nodeNameOf } from '../admission/node-identity.ts';
import type { AuthorizationConfig, AuthorizationMode } from '../request-config.ts';
import { abacRulesOf, createAbacAuthorizer } from './abac/abac-authorizer.ts';
import { type AbacRule, parseAbacPolicy } from './abac/abac-policy.ts';
import { alwaysAllow, alwaysDeny, superuserAuthorizer } from './always.ts';
import { type AskingAuthorizer, type Authorizer, unionAuthorizer } from './authorizer.ts';
import type { RbacAuthorizer } from './rbac/rbac-authorizer.ts';
import { joinRules, type RulesOf, unlisted } from './rules-of.ts';
import { createReviewPoster } from './webhook/post-review.ts';
import { createWebhookAuthorizer } from './webhook/webhook-authorizer.ts';

export interface AuthorizerDeps {
  node: Authorizer;
  rbac: Pick<RbacAuthorizer, 'authorize' | 'rulesFor'>;
  clock: Clock;
}

export interface OpenAuthorizer extends AskingAuthorizer {
  rulesOf: RulesOf;
  close(): Promise<void>;
}

function readAbac(policyFile: string): AbacRule[] {
  let text: string;
  try {
    text = readFileSync(policyFile, 'utf8');
  } catch (error) {
    throw new UsageError(`--authorization-policy-file ${policyFile} cannot be read: ${String(error)}`, {
      cause: error,
    });
  }
  return parseAbacPolicy(text, policyFile);
}

const everything = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

/** What a node may read depends on its pods, and is not listed. */
const rulesOfNode: RulesOf = (user, namespace) =>
  nodeNameOf(user) === undefined ? { rules: [], incomplete: [] } : unlisted('node')(user, namespace);

/** Throws UsageError for files that cannot be used. */
export function createAuthorizer(config: AuthorizationConfig, deps: AuthorizerDeps): OpenAuthorizer {
  const closers: (() => Promise<void>)[] = [];
  const listers: RulesOf[] = [];
  const byMode = (mode: AuthorizationMode): Authorizer | AskingAuthorizer => {
    switch (mode) {
      case 'Node':
        listers.push(rulesOfNode);
        return deps.node;
      case 'RBAC':
        listers.push((user, namespace) => ({ rules: deps.rbac.rulesFor(user, namespace), incomplete: [] }));
        return deps.rbac;
      case 'ABAC': {
        const rules = readAbac(config.policyFile ?? '');
        listers.push(abacRulesOf(rules));
        return createAbacAuthorizer(rules);
      }
      case 'AlwaysAllow':
        listers.push(() => ({ rules: everything, incomplete: [] }));
        return alwaysAllow;
      case 'AlwaysDeny':
        return alwaysDeny;
      case 'Webhook': {
        const { webhook } = config;
        if (webhook === undefined) throw new UsageError('the mode Webhook has no configuration');
        const poster = createReviewPoster(webhook.configFile, deps.clock);
        closers.push(poster.close);
        listers.push(unlisted('webhook'));
        return createWebhookAuthorizer({ ...webhook, post: poster.post, nowMs: deps.clock.now });
      }
      default:
        return mode satisfies never;
    }
  };
  const union = unionAuthorizer([superuserAuthorizer, ...config.modes.map(byMode)]);
  return {
    ...union,
    rulesOf: joinRules(listers),
    close: async () => void (await Promise.all(closers.map((close) => close()))),
  };
}
