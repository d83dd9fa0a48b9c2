// Whether a webhook is to be asked about a request, and asking it: one call, read and counted.
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import type { Authorizer } from '../../authz/authorizer.ts';
import { Budget } from '../../cel/budget.ts';
import type { Registry } from '../../registry/registry.ts';
import { badRequest, forbidden } from '../../registry/status-errors.ts';
import type { Steps } from '../../registry/steps.ts';
import { type CallWebhook, internalError, type WebhookClientConfig } from '../../webhooks/call-webhook.ts';
import { type AdmissionAttributes, attributesIn, equivalentResources } from '../matching/admission-attributes.ts';
import { evaluateConditions } from '../matching/match-conditions.ts';
import { matchingResource } from '../matching/match-rules.ts';
import { namespaceMatches, objectMatches } from '../matching/match-selectors.ts';
import { requestVariables } from '../matching/request-variables.ts';
import { type AdmissionAnswer, admissionReview, readAnswer } from './admission-review.ts';
import { callFailure, deniedByWebhook } from './webhook-failures.ts';
import type { CompiledWebhook } from './webhook-list.ts';
import type { WebhookMetrics } from './webhook-metrics.ts';

export interface WebhookDeps extends Pick<Registry, 'objects' | 'table' | 'cache' | 'rules' | 'schema'> {
  authorizer: Authorizer;
  callWebhook: CallWebhook;
  metrics: WebhookMetrics;
  logger: Logger;
}

export type WebhookType = 'admit' | 'validating';

/** Whether rules and selectors are about the request at all. */
export function concerns({ webhook }: CompiledWebhook, attributes: AdmissionAttributes, deps: WebhookDeps): boolean {
  const { objects, table } = deps;
  const target = matchingResource(webhook.rules ?? [], webhook.matchPolicy, attributes, () =>
    equivalentResources(table, attributes),
  );
  return (
    target !== undefined &&
    namespaceMatches(webhook.namespaceSelector, attributes, objects) &&
    objectMatches(webhook.objectSelector, attributes)
  );
}

/** The request as the webhook is to see it; undefined when its conditions are not met. Throws StatusError. */
export function* shownTo(
  compiled: CompiledWebhook,
  attributes: AdmissionAttributes,
  deps: WebhookDeps,
): Steps<AdmissionAttributes | undefined> {
  const { webhook, conditions } = compiled;
  const target = matchingResource(webhook.rules ?? [], webhook.matchPolicy, attributes, () =>
    equivalentResources(deps.table, attributes),
  );
  if (target === undefined) return undefined;
  const shown = yield* attributesIn(attributes, target);
  if (conditions.length === 0) return shown;
  const variables = requestVariables(shown, attributes, deps.authorizer);
  const result = evaluateConditions(conditions, variables, new Budget());
  if (result.verdict === 'met') return shown;
  if (result.verdict === 'unmet') return undefined;
  deps.metrics.conditionErrors(webhook.name, 'webhook', attributes.operation);
  if (webhook.failurePolicy === 'Ignore') return undefined;
  throw forbidden(attributes.served.resource, attributes.name, result.message);
}

function checkDryRun({ webhook }: CompiledWebhook, { request }: AdmissionAttributes): void {
  if (!request.context.dryRun) return;
  if (webhook.sideEffects === 'None' || webhook.sideEffects === 'NoneOnDryRun') return;
  throw badRequest(`admission webhook ${JSON.stringify(webhook.name)} does not support dry run`);
}

/**
 * Asks. Undefined when the webhook failed and its policy lets the request pass. Rejects with StatusError for a refusal,
 * and for a failure that counts as one.
 */
export async function askWebhook(
  compiled: CompiledWebhook,
  type: WebhookType,
  shown: AdmissionAttributes,
  original: AdmissionAttributes,
  deps: WebhookDeps,
): Promise<AdmissionAnswer | undefined> {
  const { webhook } = compiled;
  const { name } = webhook;
  const { metrics, logger } = deps;
  checkDryRun(compiled, shown);
  const version = webhook.admissionReviewVersions.find((each) => each === 'v1' || each === 'v1beta1') ?? 'v1';
  const uid = randomUUID();
  const startedMs = performance.now();
  const seconds = () => (performance.now() - startedMs) / 1000;
  let answer: AdmissionAnswer;
  let isAnswer = false;
  try {
    const timeoutMs = (webhook.timeoutSeconds ?? 10) * 1000;
    const raw = await deps.callWebhook(
      webhook.clientConfig as WebhookClientConfig,
      admissionReview(version, uid, shown, original),
      timeoutMs,
    );
    isAnswer = true;
    answer = readAnswer(raw, version, uid, type === 'admit');
  } catch (error) {
    const message = callFailure(name, error, isAnswer);
    const passes = webhook.failurePolicy === 'Ignore';
    metrics.called(name, type, shown.operation, 0, !passes, seconds());
    metrics.rejected(name, type, shown.operation, 'calling_webhook_error', 0);
    if (passes) {
      metrics.failedOpen(name, type);
      logger.warn({ webhook: name, err: error }, 'a webhook failed; the request passes as its policy says');
      return undefined;
    }
    throw internalError(message);
  }
  const prefix = `${name}/`;
  for (const warning of answer.warnings) shown.request.context.warn(warning);
  for (const [key, value] of Object.entries(answer.auditAnnotations)) {
    shown.request.context.annotate?.(`${prefix}${key}`, value);
  }
  if (answer.allowed) {
    metrics.called(name, type, shown.operation, 200, false, seconds());
    return answer;
  }
  const refusal = deniedByWebhook(name, answer.status);
  const code = refusal.status.code ?? 400;
  metrics.called(name, type, shown.operation, code, true, seconds());
  metrics.rejected(name, type, shown.operation, 'no_error', code);
  throw refusal;
}
