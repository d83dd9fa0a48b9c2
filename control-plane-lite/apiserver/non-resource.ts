// Paths that are no resource's: discovery, health, version, metrics, OpenAPI.
import { type DiscoveryDocuments, selectDiscovery } from './discovery/discovery-documents.ts';
import { answerHealth, type HealthCheck } from './health.ts';
import { type Exchange, sendBytes, sendJson, sendText } from './http/exchange.ts';
import { versionInfo } from './version.ts';

/** Serves a path; false when the path is not its own. */
export type PathHandler = (exchange: Exchange) => Promise<boolean> | boolean;

export interface NonResourceDeps {
  discovery(): DiscoveryDocuments;
  checks: readonly HealthCheck[];
  metrics(): Promise<{ contentType: string; text: string }>;
  /** Further paths: OpenAPI, OpenID configuration. */
  handlers: readonly PathHandler[];
}

/** Serves everything that is not a resource. Answers 404 for an unknown path. */
export async function serveNonResource(deps: NonResourceDeps, exchange: Exchange): Promise<void> {
  const { info, request } = exchange;
  const path = info.path.length > 1 && info.path.endsWith('/') ? info.path.slice(0, -1) : info.path;
  if (request.method !== 'GET' && request.method !== 'HEAD') {
    sendText(exchange, 404, '404 page not found\n');
    return;
  }
  const health = answerHealth(deps.checks, path, info.query);
  if (health !== undefined) {
    sendText(exchange, health.code, health.text);
    return;
  }
  if (path === '/version') {
    sendJson(exchange, 200, versionInfo);
    return;
  }
  if (path === '/metrics') {
    const { contentType, text } = await deps.metrics();
    sendBytes(exchange, 200, contentType, text);
    return;
  }
  const document = selectDiscovery(deps.discovery(), path, request.headers.accept, exchange.protobuf);
  if (document !== undefined) {
    exchange.response.setHeader('Vary', 'Accept');
    sendBytes(exchange, 200, document.contentType, document.body);
    return;
  }
  for (const handle of deps.handlers) {
    if (await handle(exchange)) return;
  }
  if (path === '' || path === '/') {
    const paths = [
      ...deps.discovery().plain.keys(),
      '/healthz',
      '/livez',
      '/metrics',
      '/openapi/v2',
      '/openapi/v3',
      '/readyz',
      '/version',
    ];
    sendJson(exchange, 200, { paths: paths.sort() });
    return;
  }
  sendText(exchange, 404, '404 page not found\n');
}
