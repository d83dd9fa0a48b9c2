// How a webhook's refusal, or its failure, is answered to the client. Pure.
import { StatusError } from '#kube/errors/status-error.ts';
import type { WebhookStatus } from './admission-review.ts';

/** The refusal of a webhook: its own code, reason and message. */
export function deniedByWebhook(name: string, status: WebhookStatus | undefined): StatusError {
  const denied = `admission webhook ${JSON.stringify(name)} denied the request`;
  const { message = '', reason = '', code = 0, details } = status ?? {};
  const text =
    message !== '' ? `${denied}: ${message}` : reason !== '' ? `${denied}: ${reason}` : `${denied} without explanation`;
  return new StatusError({
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Failure',
    message: text,
    ...(reason === '' ? {} : { reason }),
    ...(details === undefined ? {} : { details }),
    code: Math.max(code, 400),
  });
}

/** The words for a webhook that could not be asked. */
export function callFailure(name: string, error: unknown, isAnswer: boolean): string {
  const why = error instanceof Error ? error.message : String(error);
  return isAnswer
    ? `failed calling webhook ${JSON.stringify(name)}: ${why}`
    : `failed calling webhook ${JSON.stringify(name)}: failed to call webhook: ${why}`;
}
