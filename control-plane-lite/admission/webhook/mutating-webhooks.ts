// MutatingAdmissionWebhook: asks the webhooks that a request concerns one after the other; each sees what those before
// it changed.
import { mutatingwebhookconfigurations } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import { applyJsonPatch } from '../../patch/json-patch.ts';
import { decodeObject } from '../../registry/decode-object.ts';
import { finishSteps } from '../../registry/steps.ts';
import { toStored } from '../../registry/stored-version.ts';
import { internalError } from '../../webhooks/call-webhook.ts';
import {
  type AdmissionAttributes,
  attributesOfRequest,
  isExempt,
  objectBack,
} from '../matching/admission-attributes.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../plugin.ts';
import { noteRun, type PluginRuns, type Reinvocation, runsOf } from '../reinvocation.ts';
import { replaceContents } from '../replace-contents.ts';
import { askWebhook, concerns, shownTo, type WebhookDeps } from './ask-webhook.ts';
import { type CompiledWebhook, followWebhooks } from './webhook-list.ts';

const name = 'MutatingAdmissionWebhook';

/** The object with a patch in it, pruned and defaulted as one that a client sent. */
function patched(object: KubeObject, patch: unknown[], shown: AdmissionAttributes, deps: WebhookDeps): KubeObject {
  const result = applyJsonPatch(object, patch) as KubeObject;
  const { kind } = shown;
  if (!deps.schema.knows(kind)) return result;
  decodeObject(result as unknown as Record<string, unknown>, deps.schema.typeOf(kind));
  return result;
}

async function askOne(
  compiled: CompiledWebhook,
  request: AdmissionRequest,
  runs: PluginRuns,
  reinvocation: Reinvocation,
  deps: WebhookDeps,
): Promise<void> {
  const { webhook } = compiled;
  const attributes = attributesOfRequest(request);
  const shown = await finishSteps(shownTo(compiled, attributes, deps));
  if (shown === undefined) return;
  const answer = await askWebhook(compiled, 'admit', shown, attributes, deps);
  const runsAgain = webhook.reinvocationPolicy === 'IfNeeded';
  if (answer === undefined) return;
  let isChanged = false;
  const { object } = request;
  const isWhole = request.subresource === '' || request.subresource === 'status' || request.verb === 'connect';
  if (answer.patch !== undefined && answer.patch.length > 0 && object !== undefined && shown.object !== undefined) {
    const before = JSON.stringify(object);
    try {
      const changed = patched(shown.object, answer.patch, shown, deps);
      if (isWhole) {
        const back = await finishSteps(objectBack(changed, shown.served, attributes.served));
        replaceContents(object, request.verb === 'connect' ? back : toStored(attributes.served, back));
      } else replaceContents(object, changed);
    } catch (error) {
      const why = error instanceof StatusError ? causeOf(error) : String(error);
      throw internalError(`failed calling webhook ${JSON.stringify(webhook.name)}: ${why}`);
    }
    if (request.subresource === '') deps.rules.applyDefaults(request.served.stored, object);
    isChanged = JSON.stringify(object) !== before;
  }
  noteRun(reinvocation, runs, compiled.id, { isChanged, runsAgain });
}

function causeOf({ status, message }: StatusError): string {
  return status.details?.causes?.[0]?.message ?? message;
}

async function askAll(
  webhooks: readonly CompiledWebhook[],
  request: AdmissionRequest,
  runs: PluginRuns,
  reinvocation: Reinvocation,
  deps: WebhookDeps,
): Promise<void> {
  for (const compiled of webhooks) {
    if (reinvocation.isSecondRun) {
      if (!runs.again.delete(compiled.id)) continue;
    }
    // An earlier one may have changed what selectors look at.
    if (concerns(compiled, attributesOfRequest(request), deps)) {
      await askOne(compiled, request, runs, reinvocation, deps);
    }
  }
  runs.lastOutput = JSON.stringify(request.object);
}

export function createMutatingWebhooks(deps: WebhookDeps): AdmissionPlugin {
  const webhooks = followWebhooks(deps, mutatingwebhookconfigurations);
  return {
    name,
    mutate: (request) => {
      const all = webhooks();
      const { reinvocation } = request;
      if (all.length === 0 || reinvocation === undefined || isExempt(request)) return undefined;
      const runs = runsOf(reinvocation, name, request.object);
      if (reinvocation.isSecondRun && runs.again.size === 0) return undefined;
      const attributes = attributesOfRequest(request);
      if (!reinvocation.isSecondRun && !all.some((each) => concerns(each, attributes, deps))) return undefined;
      return () => askAll(all, request, runs, reinvocation, deps);
    },
  };
}
