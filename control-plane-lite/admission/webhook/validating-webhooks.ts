// ValidatingAdmissionWebhook: asks all webhooks that a request concerns at once; any of them may refuse it.
import { validatingwebhookconfigurations } from '#kube/api/generated/resources.ts';
import { finishSteps } from '../../registry/steps.ts';
import { attributesOfRequest, isExempt } from '../matching/admission-attributes.ts';
import type { AdmissionPlugin } from '../plugin.ts';
import { askWebhook, concerns, shownTo, type WebhookDeps } from './ask-webhook.ts';
import { followWebhooks } from './webhook-list.ts';

export function createValidatingWebhooks(deps: WebhookDeps): AdmissionPlugin {
  const webhooks = followWebhooks(deps, validatingwebhookconfigurations);
  return {
    name: 'ValidatingAdmissionWebhook',
    validateByAsking: (request) => {
      if (webhooks().length === 0 || isExempt(request)) return undefined;
      const attributes = attributesOfRequest(request);
      const concerned = webhooks().filter((each) => concerns(each, attributes, deps));
      if (concerned.length === 0) return undefined;
      return async () => {
        const answers = await Promise.allSettled(
          concerned.map(async (each) => {
            const shown = await finishSteps(shownTo(each, attributes, deps));
            if (shown !== undefined) await askWebhook(each, 'validating', shown, attributes, deps);
          }),
        );
        const refused = answers.find((answer) => answer.status === 'rejected');
        if (refused !== undefined) throw refused.reason;
      };
    },
  };
}
