// Requests that ask to upgrade their connection: checked like any other, then joined to the backend that serves them.
import { type IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { failure } from '#kube/errors/status-error.ts';
import { isWebSocketRequest } from '#kube/websocket/accept-websocket.ts';
import { methodNotAllowed } from '../registry/status-errors.ts';
import { forbiddenAccess } from './forbidden-access.ts';
import { serveWatch } from './handlers/watch.ts';
import type { Exchange } from './http/exchange.ts';
import { sendError } from './http/send-error.ts';
import type { ProxyHandlers } from './proxy/proxy-handlers.ts';
import { accessOf, admit, newExchange, type RequestHandlerDeps } from './request-handler.ts';
import { admitConnect } from './subresources/admit-connect.ts';
import { createWebSocketSink } from './watch/watch-sink.ts';

/** Subresources of pods that run things: who may only read must not get there with a WebSocket, which is a GET. */
const running = ['exec', 'attach', 'portforward'];

/** Throws StatusError 403 for a stream into a pod whose caller may not create it (KEP-4006). */
async function admitStream({ api }: RequestHandlerDeps, { info, user }: Exchange): Promise<void> {
  if (info.group !== '' || info.plural !== 'pods' || !running.includes(info.subresource)) return;
  const access = { ...accessOf(info), verb: 'create' };
  const decision = await api.authorizer.decide(user, access);
  if (decision.verdict !== 'allow') throw forbiddenAccess(user, access, decision.reason);
}

/** Serves one upgrade request; never throws. An ordinary answer goes out as one, and closes the connection. */
export function createUpgradeHandler(
  deps: RequestHandlerDeps,
  proxies: ProxyHandlers,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const { api, metrics } = deps;
  return (request, socket, head) => {
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // What the audit log says of a request that was upgraded; answers say otherwise themselves.
    response.statusCode = 101;
    response.assignSocket(socket as Socket);
    response.on('finish', () => socket.end());
    socket.on('error', (error) => api.logger.debug({ err: error }, 'an upgraded connection broke'));
    const exchange = newExchange(request, response, api);
    const finish = metrics.begin(exchange);
    const serve = async () => {
      await admit(deps, exchange);
      await admitStream(deps, exchange);
      const { info } = exchange;
      if (await deps.aggregator.upgrade(exchange, socket, head)) return;
      const served = info.isResource ? api.registry.table.find(info.group, info.version, info.plural) : undefined;
      if (served !== undefined && info.verb === 'watch' && info.subresource === '' && isWebSocketRequest(request)) {
        if (!served.verbs.has('watch')) throw methodNotAllowed();
        await serveWatch(api, exchange, served, createWebSocketSink(exchange, socket, head));
        return;
      }
      const isServed = served?.subresources.has(info.subresource) === true;
      if (served !== undefined && isServed) await admitConnect(api, exchange, served);
      const proxied = isServed ? proxies.upgrade(api, exchange, socket, head) : undefined;
      if (proxied === undefined) throw failure(400, 'BadRequest', 'this path does not upgrade connections');
      await proxied;
    };
    serve()
      .catch((error: unknown) => sendError(exchange, error, api.logger))
      .finally(finish);
  };
}
