// AdmissionReviews: what a webhook is asked, and how its answer is read. Pure.
// Source of the rules: the reference's admission/plugin/webhook/request and the types of admission.k8s.io.
import type { UserInfo } from '../../registry/request-context.ts';
import { type AdmissionAttributes, groupVersionResource } from '../matching/admission-attributes.ts';
import type { AdmissionRequest } from '../plugin.ts';

export function userInfoOf({ username, uid, groups, extra }: UserInfo): object {
  return { username, ...(uid === undefined ? {} : { uid }), groups, ...(extra === undefined ? {} : { extra }) };
}

const optionKinds = { create: 'CreateOptions', update: 'UpdateOptions', delete: 'DeleteOptions' } as const;

/** The options of the request as an object of the API; null for connections. */
export function optionsOf({ verb, context, options }: AdmissionRequest): object | null {
  if (verb === 'connect') return null;
  const dryRun = context.dryRun ? { dryRun: ['All'] } : {};
  const manager = verb === 'delete' ? {} : { fieldManager: context.fieldManager };
  return { kind: optionKinds[verb], apiVersion: 'meta.k8s.io/v1', ...options, ...manager, ...dryRun };
}

/** The body of the request to a webhook; `original` is the request as it came. */
export function admissionReview(
  reviewVersion: string,
  uid: string,
  shown: AdmissionAttributes,
  original: AdmissionAttributes,
): object {
  const { served, subresource, kind, name, namespace, operation, object, oldObject, request } = shown;
  const sub = subresource === '' ? {} : { subResource: subresource, requestSubResource: subresource };
  return {
    kind: 'AdmissionReview',
    apiVersion: `admission.k8s.io/${reviewVersion}`,
    request: {
      uid,
      kind: { group: kind.group, version: kind.version, kind: kind.kind },
      resource: groupVersionResource(served.resource),
      ...sub,
      requestKind: { group: original.kind.group, version: original.kind.version, kind: original.kind.kind },
      requestResource: groupVersionResource(original.served.resource),
      name,
      ...(namespace === '' ? {} : { namespace }),
      operation,
      userInfo: userInfoOf(request.context.user),
      object: object ?? null,
      oldObject: oldObject ?? null,
      dryRun: request.context.dryRun,
      options: optionsOf(request),
    },
  };
}

export interface WebhookStatus {
  code?: number;
  status?: string;
  message?: string;
  reason?: string;
  details?: object;
}

export interface AdmissionAnswer {
  allowed: boolean;
  status: WebhookStatus | undefined;
  /** Operations of a JSON patch; undefined: the object stays. */
  patch: unknown[] | undefined;
  warnings: string[];
  auditAnnotations: Record<string, string>;
}

interface RawResponse {
  uid?: unknown;
  allowed?: unknown;
  status?: WebhookStatus;
  patch?: unknown;
  patchType?: unknown;
  warnings?: unknown;
  auditAnnotations?: unknown;
}

const texts = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];

function patchOf({ patch, patchType }: RawResponse): unknown[] | undefined {
  if (patch === undefined || patch === null || patch === '') {
    if (patchType !== undefined && patchType !== null)
      throw new Error(`webhook returned response.patchType but not response.patch`);
    return undefined;
  }
  if (typeof patch !== 'string') throw new Error('webhook returned a response.patch that is not base64');
  const operations = JSON.parse(Buffer.from(patch, 'base64').toString()) as unknown;
  if (!Array.isArray(operations)) throw new Error('webhook returned a response.patch that is no JSON patch');
  return operations;
}

/** Reads an answer. Throws Error in the reference's words for one that is none. */
export function readAnswer(answer: unknown, reviewVersion: string, uid: string, mutates: boolean): AdmissionAnswer {
  const { kind, apiVersion, response } = (answer ?? {}) as {
    kind?: unknown;
    apiVersion?: unknown;
    response?: RawResponse;
  };
  const wanted = `admission.k8s.io/${reviewVersion}, Kind=AdmissionReview`;
  if (reviewVersion === 'v1' && `${String(apiVersion)}, Kind=${String(kind)}` !== wanted) {
    throw new Error(
      `received invalid webhook response: expected webhook response of ${wanted}, got ${String(apiVersion ?? '')}, Kind=${String(kind ?? '')}`,
    );
  }
  if (typeof response !== 'object' || response === null)
    throw new Error('received invalid webhook response: webhook response was absent');
  if (reviewVersion === 'v1' && response.uid !== uid) {
    throw new Error(
      `received invalid webhook response: expected response.uid=${JSON.stringify(uid)}, got ${JSON.stringify(response.uid ?? '')}`,
    );
  }
  let patch: unknown[] | undefined;
  if (mutates) {
    try {
      patch = patchOf(response);
    } catch (error) {
      throw new Error(`received invalid webhook response: ${error instanceof Error ? error.message : String(error)}`);
    }
    if (patch !== undefined && response.patchType !== 'JSONPatch' && reviewVersion === 'v1') {
      throw new Error(`received invalid webhook response: webhook returned response.patch but not response.patchType`);
    }
  } else if (reviewVersion === 'v1' && typeof response.patch === 'string' && response.patch !== '') {
    throw new Error('received invalid webhook response: validating webhook may not return response.patch');
  }
  const annotations = response.auditAnnotations;
  return {
    allowed: response.allowed === true,
    status: response.status,
    patch,
    warnings: texts(response.warnings),
    auditAnnotations:
      typeof annotations === 'object' && annotations !== null ? (annotations as Record<string, string>) : {},
  };
}
