// The authorizers that the flags name, asked in that order; administrators come first, whatever is configured.
import { readFileSync } from 'node:fs';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { AuthorizationConfig, AuthorizationMode } from '../request-config.ts';
import { createAbacAuthorizer } from './abac/abac-authorizer.ts';
import { parseAbacPolicy } from './abac/abac-policy.ts';
import { alwaysAllow, alwaysDeny, superuserAuthorizer } from './always.ts';
import { type AskingAuthorizer, type Authorizer, unionAuthorizer } from './authorizer.ts';
import { createReviewPoster } from './webhook/post-review.ts';
import { createWebhookAuthorizer } from './webhook/webhook-authorizer.ts';

export interface AuthorizerDeps {
  node: Authorizer;
  rbac: Authorizer;
  clock: Clock;
}

export interface OpenAuthorizer extends AskingAuthorizer {
  close(): Promise<void>;
}

function readAbac(policyFile: string): Authorizer {
  let text: string;
  try {
    text = readFileSync(policyFile, 'utf8');
  } catch (error) {
    throw new UsageError(`--authorization-policy-file ${policyFile} cannot be read: ${String(error)}`, {
      cause: error,
    });
  }
  return createAbacAuthorizer(parseAbacPolicy(text, policyFile));
}

/** Throws UsageError for files that cannot be used. */
export function createAuthorizer(config: AuthorizationConfig, deps: AuthorizerDeps): OpenAuthorizer {
  const closers: (() => Promise<void>)[] = [];
  const byMode = (mode: AuthorizationMode): Authorizer | AskingAuthorizer => {
    switch (mode) {
      case 'Node':
        return deps.node;
      case 'RBAC':
        return deps.rbac;
      case 'ABAC':
        return readAbac(config.policyFile ?? '');
      case 'AlwaysAllow':
        return alwaysAllow;
      case 'AlwaysDeny':
        return alwaysDeny;
      case 'Webhook': {
        const { webhook } = config;
        if (webhook === undefined) throw new UsageError('the mode Webhook has no configuration');
        const poster = createReviewPoster(webhook.configFile, deps.clock);
        closers.push(poster.close);
        return createWebhookAuthorizer({ ...webhook, post: poster.post, nowMs: deps.clock.now });
      }
      default:
        return mode satisfies never;
    }
  };
  const union = unionAuthorizer([superuserAuthorizer, ...config.modes.map(byMode)]);
  return { ...union, close: async () => void (await Promise.all(closers.map((close) => close()))) };
}
