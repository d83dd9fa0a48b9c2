// serviceaccounts/NAME/token: issues a token for an account, bound to what the request names.
import type { TokenRequest } from '#kube/api/generated/authentication-v1.ts';
import { nodes, pods, secrets, serviceaccounts } from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { type FieldError, invalidField, invalidObject } from '#kube/errors/field-error.ts';
import type { BoundObject, ServiceAccountTokens } from '../../authn/service-account-tokens.ts';
import { timestamp } from '../../registry/object-meta.ts';
import { conflict, forbidden, notFound } from '../../registry/status-errors.ts';
import { finishSteps } from '../../registry/steps.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import { readPosted } from '../handlers/read-posted.ts';
import { requestContext } from '../handlers/request-options.ts';
import { type Exchange, sendObject } from '../http/exchange.ts';

const defaultLifetimeSeconds = 3600;
const minLifetimeSeconds = 600;
const maxLifetimeSeconds = 2 ** 32;
/** What mounted tokens ask for; they live on for clients that do not reload, and are noted as stale. */
const mountedLifetimeSeconds = 3607;
const extendedLifetimeSeconds = 365 * 86_400;

const kinds: Record<string, Resource> = { Pod: pods, Node: nodes, Secret: secrets };

function validate(spec: TokenRequest['spec']): FieldError[] {
  const errors: FieldError[] = [];
  const { expirationSeconds: seconds = defaultLifetimeSeconds } = spec;
  if (seconds < minLifetimeSeconds) {
    errors.push(invalidField('spec.expirationSeconds', seconds, 'may not specify a duration less than 10 minutes'));
  }
  if (seconds > maxLifetimeSeconds) {
    errors.push(invalidField('spec.expirationSeconds', seconds, 'may not specify a duration larger than 2^32 seconds'));
  }
  return errors;
}

interface Binding {
  bound?: BoundObject;
  node?: { name: string; uid: string };
}

/** Finds the object that the token is to be bound to. Throws StatusError. */
function resolveBinding(api: ApiContext, namespace: string, account: string, spec: TokenRequest['spec']): Binding {
  const reference = spec.boundObjectRef;
  if (reference === undefined) return {};
  const { kind = '', name = '', uid = '' } = reference;
  const resource = kinds[kind];
  if (resource === undefined) {
    throw forbidden(
      serviceaccounts,
      account,
      `cannot bind token to object of type ${reference.apiVersion ?? ''}, Kind=${kind}`,
    );
  }
  const { objects } = api.registry;
  const object = objects.get(resource as Resource<KubeObject>, resource.namespaced ? namespace : '', name);
  if (object === undefined) throw notFound(resource, name);
  const foundUid = object.metadata.uid ?? '';
  if (uid !== '' && uid !== foundUid) {
    throw conflict(
      resource,
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  const bound: BoundObject = { kind: kind as BoundObject['kind'], name, uid: foundUid };
  if (kind !== 'Pod') return { bound };
  const { spec: podSpec } = object as KubeObject & { spec?: { serviceAccountName?: string; nodeName?: string } };
  if (podSpec?.serviceAccountName !== account) {
    throw forbidden(
      serviceaccounts,
      account,
      `cannot bind token for serviceaccount ${JSON.stringify(account)} to pod running with different serviceaccount name.`,
    );
  }
  const nodeName = podSpec.nodeName ?? '';
  if (nodeName === '') return { bound };
  const node = objects.get(nodes, '', nodeName);
  return { bound, node: { name: nodeName, uid: node?.metadata.uid ?? '' } };
}

/** Throws StatusError. */
async function issue(
  api: ApiContext,
  exchange: Exchange,
  tokens: ServiceAccountTokens,
  spec: TokenRequest['spec'],
): Promise<{ token: string; expirationTimestamp: string; seconds: number; audiences: string[] }> {
  const { namespace, name } = exchange.info;
  const account = api.registry.objects.get(serviceaccounts, namespace, name);
  if (account === undefined) throw notFound(serviceaccounts, name);
  const errors = validate(spec);
  if (errors.length > 0) throw invalidObject('TokenRequest', 'authentication.k8s.io', '', errors);
  const binding = resolveBinding(api, namespace, name, spec);
  const seconds = spec.expirationSeconds ?? defaultLifetimeSeconds;
  const audiences = spec.audiences !== undefined && spec.audiences.length > 0 ? spec.audiences : [...tokens.audiences];
  const isExtended =
    seconds === mountedLifetimeSeconds &&
    binding.bound?.kind === 'Pod' &&
    audiences.every((audience) => tokens.audiences.includes(audience));
  const token = await tokens.issue({
    namespace,
    account: { name, uid: account.metadata.uid ?? '' },
    audiences,
    ...binding,
    nowMs: exchange.nowMs,
    lifetimeSeconds: isExtended ? extendedLifetimeSeconds : seconds,
    warnAfterSeconds: isExtended ? seconds : undefined,
  });
  return { token, expirationTimestamp: timestamp(exchange.nowMs + seconds * 1000), seconds, audiences };
}

/** Asks what decides over writes: a node gets tokens for its own pods only. Throws StatusError. */
async function admitToken(api: ApiContext, exchange: Exchange, object: KubeObject): Promise<void> {
  const { admission, objects, table } = api.registry;
  const { namespace, name } = exchange.info;
  const context = requestContext(exchange);
  const served = table.get(serviceaccounts);
  const asked = { verb: 'create' as const, served, subresource: 'token', namespace, name, object };
  const request = { ...asked, previous: undefined, context, objects };
  await finishSteps(admission.mutate(request));
  (await finishSteps(admission.validate(request)))();
}

/** The handler of POST. */
export function createTokenHandler(tokens: ServiceAccountTokens): ResourceHandler {
  return async (api, exchange) => {
    const kind = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };
    const request = (await readPosted(api, exchange, kind)) as KubeObject & TokenRequest;
    const spec = request.spec ?? { audiences: [] };
    await admitToken(api, exchange, request);
    const { token, expirationTimestamp, seconds, audiences } = await issue(api, exchange, tokens, spec);
    const { name, namespace } = exchange.info;
    sendObject(exchange, 201, {
      kind: 'TokenRequest',
      apiVersion: 'authentication.k8s.io/v1',
      metadata: { name, namespace, creationTimestamp: timestamp(exchange.nowMs) },
      spec: { ...spec, audiences, expirationSeconds: seconds },
      status: { token, expirationTimestamp },
    });
  };
}
