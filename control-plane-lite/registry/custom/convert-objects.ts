// Between the versions of a custom kind: by changing apiVersion alone, or by asking the definition's webhook.
// Source of the rules: the reference's apiextensions-apiserver/pkg/apiserver/conversion.
import { randomUUID } from 'node:crypto';
import type { CustomResourceConversion } from '#kube/api/generated/apiextensions-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { CallWebhook, WebhookClientConfig } from '../../webhooks/call-webhook.ts';

/** Converts whole objects, answered in their order. Rejects with StatusError. */
export type ConvertObjects = (objects: readonly KubeObject[], apiVersion: string) => Promise<KubeObject[]>;

const timeoutMs = 30_000;

interface ReviewResponse {
  uid?: unknown;
  result?: { status?: string; message?: string };
  convertedObjects?: unknown;
}

function conversionFailure({ apiVersion, kind }: KubeObject, why: string): StatusError {
  return failure(500, 'InternalError', `conversion webhook for ${apiVersion}, Kind=${kind} failed: ${why}`);
}

/** What the webhook may not touch is put back. Throws StatusError for an object that is another one. */
function checkConverted(original: KubeObject, converted: unknown, apiVersion: string): KubeObject {
  const given = converted as KubeObject;
  const fail = (why: string) => conversionFailure(original, `invalid converted object: ${why}`);
  if (typeof converted !== 'object' || converted === null) throw fail('not an object');
  if (given.apiVersion !== apiVersion) {
    throw fail(`apiVersion must be ${apiVersion}, got ${JSON.stringify(given.apiVersion)}`);
  }
  if (given.kind !== original.kind) throw fail(`kind must be ${original.kind}, got ${JSON.stringify(given.kind)}`);
  const { metadata } = given;
  if (typeof metadata !== 'object' || metadata === null) throw fail('missing metadata');
  for (const field of ['name', 'namespace', 'uid'] as const) {
    if (metadata[field] !== original.metadata[field]) {
      throw fail(
        `must have the same ${field}: ${JSON.stringify(metadata[field])} != ${JSON.stringify(original.metadata[field])}`,
      );
    }
  }
  const { labels: _labels, annotations: _annotations, ...kept } = original.metadata;
  const { labels, annotations } = metadata;
  return {
    ...given,
    metadata: {
      ...kept,
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
    },
  };
}

async function ask(
  call: CallWebhook,
  client: WebhookClientConfig,
  reviewVersions: readonly string[],
  objects: readonly KubeObject[],
  apiVersion: string,
): Promise<KubeObject[]> {
  const [first] = objects;
  if (first === undefined) return [];
  const uid = randomUUID();
  const version = reviewVersions.find((each) => each === 'v1' || each === 'v1beta1') ?? 'v1';
  const reviewVersion = `apiextensions.k8s.io/${version}`;
  const review = {
    kind: 'ConversionReview',
    apiVersion: reviewVersion,
    request: { uid, desiredAPIVersion: apiVersion, objects },
    response: null,
  };
  let answer: unknown;
  try {
    answer = await call(client, review, timeoutMs);
  } catch (error) {
    throw conversionFailure(first, error instanceof Error ? error.message : String(error));
  }
  const {
    kind,
    apiVersion: answered,
    response,
  } = (answer ?? {}) as { kind?: unknown; apiVersion?: unknown; response?: ReviewResponse };
  if (kind !== 'ConversionReview' || answered !== reviewVersion || typeof response !== 'object' || response === null) {
    throw conversionFailure(
      first,
      `expected webhook response of ${reviewVersion}, Kind=ConversionReview, got ${String(answered)}, Kind=${String(kind)}`,
    );
  }
  if (version === 'v1' && response.uid !== uid) {
    throw conversionFailure(
      first,
      `expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? '')}`,
    );
  }
  if (response.result?.status !== 'Success') {
    throw conversionFailure(first, response.result?.message ?? 'the webhook said nothing of success');
  }
  const { convertedObjects } = response;
  if (!Array.isArray(convertedObjects) || convertedObjects.length !== objects.length) {
    const count = Array.isArray(convertedObjects) ? convertedObjects.length : 0;
    throw conversionFailure(first, `webhook returned ${count} objects, expected ${objects.length}`);
  }
  return objects.map((object, index) => checkConverted(object, convertedObjects[index], apiVersion));
}

/** By the webhook of a definition; undefined where versions differ in nothing but their name. */
export function webhookConversion(
  conversion: CustomResourceConversion | undefined,
  call: CallWebhook,
): ConvertObjects | undefined {
  const webhook = conversion?.webhook;
  if (conversion?.strategy !== 'Webhook' || webhook?.clientConfig === undefined) return undefined;
  const client = webhook.clientConfig as WebhookClientConfig;
  const versions = webhook.conversionReviewVersions;
  return async (objects, apiVersion) => await ask(call, client, versions, objects, apiVersion);
}
