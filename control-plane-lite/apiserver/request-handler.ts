// What happens to every request, in order: identify, parse, authorize, serve, and answer failures.
import type { IncomingMessage, ServerResponse } from 'node:http';
import { anonymousUser } from '../authn/authenticator.ts';
import { selectorsOfQuery } from '../authz/access-selectors.ts';
import type { AccessAttributes } from '../authz/authorizer.ts';
import type { UserInfo } from '../registry/request-context.ts';
import type { Aggregator } from './aggregation/create-aggregator.ts';
import type { ApiContext } from './api-context.ts';
import { auditIdOf } from './audit/audit-id.ts';
import type { Auditor } from './audit/create-auditor.ts';
import { dispatch, type Routes } from './dispatch.ts';
import type { Leave, RequestLimit } from './flow-control/request-limit.ts';
import { forbiddenAccess } from './forbidden-access.ts';
import type { Exchange } from './http/exchange.ts';
import { beginDeadline } from './http/request-deadline.ts';
import { parseRequestInfo, type RequestInfo } from './http/request-info.ts';
import { sendError } from './http/send-error.ts';
import type { RequestMetrics } from './metrics.ts';
import type { MetricsApi } from './metrics-api/create-metrics-api.ts';
import { type NonResourceDeps, serveNonResource } from './non-resource.ts';

export interface RequestHandlerDeps {
  api: ApiContext;
  routes: Routes;
  nonResource: NonResourceDeps;
  authenticate(request: IncomingMessage): Promise<UserInfo>;
  /** The user to act as, when the request asks for that. Throws StatusError. */
  impersonate(request: IncomingMessage, user: UserInfo): Promise<UserInfo> | UserInfo;
  metrics: RequestMetrics;
  auditor: Auditor;
  limit: RequestLimit;
  aggregator: Aggregator;
  metricsApi: Pick<MetricsApi, 'serve'>;
  requestTimeoutMs: number;
}

const readsMany = new Set(['list', 'watch', 'deletecollection']);

/** What a request wants access to. */
export function accessOf(info: RequestInfo): AccessAttributes {
  if (!info.isResource) return { isResource: false, verb: info.verb, path: info.path };
  return {
    isResource: true,
    verb: info.verb,
    group: info.group,
    version: info.version,
    resource: info.plural,
    subresource: info.subresource,
    namespace: info.namespace,
    name: info.name,
    ...(readsMany.has(info.verb)
      ? selectorsOfQuery(info.query.get('fieldSelector') ?? '', info.query.get('labelSelector') ?? '')
      : undefined),
  };
}

/** Of requests whose user could not be found out. */
const unknownUser: UserInfo = { username: '', groups: [] };

/** Throws StatusError 401. */
async function identify(deps: RequestHandlerDeps, exchange: Exchange): Promise<void> {
  const user = await deps.authenticate(exchange.request).catch((error: unknown) => {
    exchange.audit = deps.auditor.begin(exchange, unknownUser);
    throw error;
  });
  exchange.user = user;
  exchange.audit = deps.auditor.begin(exchange, user);
  exchange.user = await deps.impersonate(exchange.request, user);
  if (exchange.audit !== undefined && exchange.user !== user) exchange.audit.impersonated = exchange.user;
}

/** Throws StatusError 403. */
async function authorize({ api }: RequestHandlerDeps, { info, user, audit }: Exchange): Promise<void> {
  const access = accessOf(info);
  const asked = api.authorizer.decide(user, access);
  const decision = asked instanceof Promise ? await asked : asked;
  if (audit !== undefined) {
    audit.annotations['authorization.k8s.io/decision'] = decision.verdict === 'allow' ? 'allow' : 'forbid';
    audit.annotations['authorization.k8s.io/reason'] = decision.reason;
  }
  if (decision.verdict !== 'allow') throw forbiddenAccess(user, access, decision.reason);
}

/**
 * Identifies, waits for room, and authorizes. Room is given back when the answer is with the client.
 * Throws StatusError 401, 403 or 429.
 */
export async function admit(deps: RequestHandlerDeps, exchange: Exchange): Promise<void> {
  await identify(deps, exchange);
  const entered = deps.limit.enter(exchange);
  const leave = entered instanceof Promise ? await entered : entered;
  leaveWhenAnswered(exchange, leave);
  await authorize(deps, exchange);
}

/** A request has its seats until its answer is with the client: what waits to be sent takes memory. */
function leaveWhenAnswered(exchange: Exchange, leave: Leave): void {
  const { response, info } = exchange;
  if (info.verb === 'watch') exchange.initialised = leave;
  if (response.destroyed || response.writableFinished) leave();
  else response.once('close', leave);
}

export function newExchange(request: IncomingMessage, response: ServerResponse, api: ApiContext): Exchange {
  const info = parseRequestInfo(request.method ?? 'GET', request.url ?? '/');
  const nowMs = api.nowMs();
  return {
    request,
    response,
    info,
    user: anonymousUser,
    warnings: [],
    nowMs,
    protobuf: api.protobuf,
    auditId: auditIdOf(request),
  };
}

/** Serves one request; never rejects. */
export function createRequestHandler(
  deps: RequestHandlerDeps,
): (request: IncomingMessage, response: ServerResponse) => Promise<void> {
  const { api, metrics } = deps;
  return async (request, response) => {
    const exchange = newExchange(request, response, api);
    const finish = metrics.begin(exchange);
    let stopDeadline = (): void => undefined;
    try {
      stopDeadline = beginDeadline(exchange, deps.requestTimeoutMs, api.logger);
      await admit(deps, exchange);
      if (await deps.aggregator.serve(exchange)) return;
      if (deps.metricsApi.serve(exchange)) return;
      if (exchange.info.isResource) await dispatch(api, deps.routes, exchange);
      else await serveNonResource(deps.nonResource, exchange);
    } catch (error) {
      sendError(exchange, error, api.logger);
    } finally {
      stopDeadline();
      finish();
    }
  };
}
