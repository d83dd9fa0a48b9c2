// The subresources that are served by somebody else: logs and streams of pods by their node's agent, and the proxies
// of nodes, pods and services.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import { isWebSocketRequest } from '#kube/websocket/accept-websocket.ts';
import type { KeyPair } from '../../pki/certificate-authority.ts';
import { badRequest, notFound } from '../../registry/status-errors.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import { type Exchange, sendBytes } from '../http/exchange.ts';
import { lifetimeOf } from '../http/exchange-lifetime.ts';
import { readBody } from '../http/read-body.ts';
import { agentLogPath, agentStreamPath } from './agent-requests.ts';
import { agentUrl, parseProxiedName, podUrl, serviceUrl } from './backend-address.ts';
import { copyAnswer, forwardUpgrade, type ProxyTarget, requestBackend } from './forward.ts';
import { selectLogProtocol, sendLogMessages } from './log-websocket.ts';
import type { ProxiedPlace } from './rewrite-answer.ts';

export interface AgentIdentity {
  client: KeyPair;
  /** Verifies agents' serving certificates; undefined: not verified. */
  caPem: string | undefined;
}

type TargetOf = (api: ApiContext, exchange: Exchange) => ProxyTarget;

export interface ProxyHandlers {
  /** By `plural/subresource`. */
  plain: Readonly<Record<string, ResourceHandler>>;
  /** Serves an upgrade request; undefined for a subresource that is not proxied. */
  upgrade(api: ApiContext, exchange: Exchange, socket: Duplex, head: Buffer): Promise<void> | undefined;
}

function podOf(api: ApiContext, { info }: Exchange): KubeObject & Pod {
  const pod = api.registry.objects.get(pods, info.namespace, info.name);
  if (pod === undefined) throw notFound(pods, info.name);
  return pod;
}

/** What an agent refuses becomes a Status. */
async function refusalOf(answer: IncomingMessage): Promise<StatusError> {
  const text = (await readBody(answer)).toString().trim();
  const code = answer.statusCode ?? 500;
  if (code === 400) return badRequest(text);
  if (code === 404)
    return failure(404, 'NotFound', text === '' ? 'the server could not find the requested resource' : text);
  return failure(code, code === 500 ? 'InternalError' : '', code === 500 ? `Internal error occurred: ${text}` : text);
}

/** The proxy's own part of the request's path, which ends in `/proxy`. */
function prefixOf({ info: { path, namespace } }: Exchange): string {
  const segments = namespace === '' ? '/api/v1/nodes/NAME/proxy' : '/api/v1/namespaces/NAMESPACE/pods/NAME/proxy';
  return path.split('/').slice(0, segments.split('/').length).join('/');
}

/** The part of the request's path after the proxy's own and the query, as the client wrote them. */
function proxiedUrl(base: URL, exchange: Exchange): URL {
  const url = new URL(base);
  url.pathname = exchange.info.path.slice(prefixOf(exchange).length) || '/';
  url.search = searchOf(exchange);
  return url;
}

function searchOf({ request: { url = '' } }: Exchange): string {
  const at = url.indexOf('?');
  return at < 0 ? '' : url.slice(at);
}

function proxiedPlace(exchange: Exchange, backend: URL): ProxiedPlace {
  return { prefix: prefixOf(exchange), hosts: [backend.host, exchange.request.headers.host ?? ''] };
}

export function createProxyHandlers(identity: AgentIdentity, random: () => number): ProxyHandlers {
  const tls = { ...identity.client, caPem: identity.caPem };
  const agentTarget = (api: ApiContext, node: string, path: string): ProxyTarget => ({
    url: new URL(path, agentUrl(api.registry.objects, node)),
    tls,
  });

  const streamTarget =
    (kind: 'exec' | 'attach' | 'portForward'): TargetOf =>
    (api, exchange) => {
      const pod = podOf(api, exchange);
      const node = pod.spec?.nodeName ?? '';
      if (node === '') throw badRequest(`pod ${pod.metadata.name} does not have a host assigned`);
      return agentTarget(api, node, agentStreamPath(kind, pod, exchange.info.query));
    };

  const forwarded = (exchange: Exchange) => ({
    'x-forwarded-for': exchange.request.socket.remoteAddress ?? '',
    'x-forwarded-host': exchange.request.headers.host ?? '',
    'x-forwarded-proto': 'https',
    'x-forwarded-uri': exchange.info.path,
  });

  const targets: Record<string, TargetOf> = {
    'pods/exec': streamTarget('exec'),
    'pods/attach': streamTarget('attach'),
    'pods/portforward': streamTarget('portForward'),
    'nodes/proxy': (api, exchange) => {
      const { name, port } = parseProxiedName(exchange.info.name);
      const base = agentUrl(api.registry.objects, name, port);
      return { url: proxiedUrl(base, exchange), tls, headers: forwarded(exchange) };
    },
    'pods/proxy': (api, exchange) => {
      const base = podUrl(api.registry.objects, exchange.info.namespace, exchange.info.name);
      return { url: proxiedUrl(base, exchange), headers: forwarded(exchange) };
    },
    'services/proxy': (api, exchange) => {
      const base = serviceUrl(api.registry.objects, exchange.info.namespace, exchange.info.name, random());
      return { url: proxiedUrl(base, exchange), headers: forwarded(exchange) };
    },
  };

  /** The agent's answer to a request for a log; undefined for a pod that has no node yet. */
  const openLog = async (api: ApiContext, exchange: Exchange): Promise<IncomingMessage | undefined> => {
    const pod = podOf(api, exchange);
    const path = agentLogPath(pod, exchange.info.query);
    const node = pod.spec?.nodeName ?? '';
    if (node === '') return undefined;
    const target = { ...agentTarget(api, node, path), headers: { accept: '*/*', 'accept-encoding': 'identity' } };
    const answer = await requestBackend(exchange.request, target, lifetimeOf(exchange, api.stopping));
    if ((answer.statusCode ?? 500) >= 300) throw await refusalOf(answer);
    return answer;
  };

  const log: ResourceHandler = async (api, exchange) => {
    const answer = await openLog(api, exchange);
    if (answer === undefined) exchange.response.writeHead(204).end();
    else await copyAnswer(answer, exchange.response);
  };

  const logMessages = async (api: ApiContext, exchange: Exchange, socket: Duplex, head: Buffer): Promise<void> => {
    const protocol = selectLogProtocol(exchange.request);
    const answer = await openLog(api, exchange);
    if (answer === undefined) exchange.response.writeHead(204).end();
    else await sendLogMessages(answer, exchange.request, socket, head, protocol);
  };

  const plain = (key: string): ResourceHandler => {
    return async (api, exchange) => {
      const target = targets[key]?.(api, exchange);
      if (target === undefined) throw badRequest(`${key} is not proxied`);
      const isStream = !key.endsWith('/proxy');
      if (isStream) throw badRequest('Upgrade request required');
      const { path } = exchange.info;
      const { method } = exchange.request;
      if (path === prefixOf(exchange) && (method === 'GET' || method === 'HEAD')) {
        exchange.response.setHeader('Location', `${path}/${searchOf(exchange)}`);
        sendBytes(exchange, 301, 'text/plain', '');
        return;
      }
      const answer = await requestBackend(exchange.request, target, lifetimeOf(exchange, api.stopping));
      await copyAnswer(answer, exchange.response, proxiedPlace(exchange, target.url));
    };
  };

  return {
    plain: { 'pods/log': log, ...Object.fromEntries(Object.keys(targets).map((key) => [key, plain(key)])) },
    upgrade: (api, exchange, socket, head) => {
      const { plural, subresource } = exchange.info;
      if (plural === 'pods' && subresource === 'log' && isWebSocketRequest(exchange.request)) {
        return logMessages(api, exchange, socket, head);
      }
      const target = targets[`${plural}/${subresource}`];
      if (target === undefined) return undefined;
      return (async () => {
        const signal = lifetimeOf(exchange, api.stopping);
        const answer = await forwardUpgrade(exchange.request, socket, head, target(api, exchange), signal);
        if (answer === undefined) return;
        // What refuses an upgrade says why in words that clients show as they are.
        await copyAnswer(answer, exchange.response);
      })();
    },
  };
}
