// The agent's server as a component: which routes there are, and from what they answer.
import type { FastifyInstance } from 'fastify';
import type { Logger } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import type { AgentSettings } from '../config/settings.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import { createAuthenticate } from './authenticate.ts';
import { createAuthorize } from './authorize.ts';
import { type HttpServerOptions, startHealthServer, startHttpsServer, startReadOnlyServer } from './http-server.ts';
import type { NodeView } from './node-view.ts';
import { checkpointRoutes } from './routes/checkpoint-routes.ts';
import { componentRoutes } from './routes/component-routes.ts';
import { containerLogRoutes } from './routes/container-logs.ts';
import { type ExplainRouteOptions, explainRoutes } from './routes/explain-routes.ts';
import { nodeRoutes } from './routes/node-routes.ts';
import { loadServingCertificate } from './serving-certificate.ts';
import { serveStream } from './streaming.ts';

const nodeLogsDir = '/var/log';

export interface AgentServerOptions {
  settings: AgentSettings;
  view: NodeView;
  runtime: RuntimeService;
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  nodeIps: string[];
  /** For questions to the journal. */
  exec?: Exec;
  problem(): string | undefined;
  /** Routes of metrics and statistics. */
  metricRoutes(server: FastifyInstance, switches: boolean): void;
  explain: ExplainRouteOptions['explain'];
  retry: ExplainRouteOptions['retry'];
  observe: HttpServerOptions['observe'];
  requestStarted?: HttpServerOptions['requestStarted'];
  observeAuthorization?: (code: string, durationMs: number) => void;
  replaceable?: HttpServerOptions['replaceable'];
  /** Called when every port is open. */
  listening(): void;
}

/** Serves until the signal is aborted. Rejects with UsageError when a port is taken. */
export async function runAgentServer(options: AgentServerOptions, signal: AbortSignal): Promise<void> {
  const { settings, view, runtime, client, clock, logger } = options;
  const { server: own } = settings;
  const servers: FastifyInstance[] = [];
  const startedAtMs = clock.now();
  const health = await startHealthServer(own, (server) => {
    nodeRoutes(server, { ...common(), debuggingHandlers: false });
  });
  if (health !== undefined) servers.push(health);

  const readOnly = await startReadOnlyServer(own, (server) => {
    nodeRoutes(server, { ...common(), debuggingHandlers: false });
    options.metricRoutes(server, false);
  });
  if (readOnly !== undefined) servers.push(readOnly);

  function common() {
    return {
      view,
      runtime,
      configuration: settings.configuration,
      problem: options.problem,
      debuggingHandlers: own.debuggingHandlers,
      nodeLogsDir: own.systemLogHandler ? nodeLogsDir : undefined,
      logQuery: own.systemLogQuery ? options.exec : undefined,
    };
  }

  function findRuntime(namespace: string, name: string, uid: string | undefined) {
    const pod = view.findPod(namespace, name, uid);
    return pod === undefined ? undefined : view.runtimeOf(pod.metadata.uid ?? '');
  }

  if (own.enabled) {
    const streaming = { runtime, findPod: findRuntime, idleTimeoutMs: own.streamIdleTimeoutMs, clock, logger };
    const server = await startHttpsServer({
      settings: own,
      certificate: await loadServingCertificate(own, view.nodeName, options.nodeIps, clock.now()),
      authenticate: createAuthenticate(client, clock, own),
      authorize: createAuthorize(client, clock, view.nodeName, own, options.observeAuthorization),
      routes(instance) {
        nodeRoutes(instance, common());
        explainRoutes(instance, { view, explain: options.explain, retry: options.retry });
        if (own.debuggingHandlers) containerLogRoutes(instance, view, clock);
        if (own.debuggingHandlers) {
          checkpointRoutes(instance, { view, runtime, rootDir: settings.rootDir, now: clock.now });
        }
        componentRoutes(instance, { version: kubernetesVersion, flags: settings.flags, startedAtMs, now: clock.now });
        options.metricRoutes(instance, true);
      },
      upgrade: (request, socket, head) =>
        own.debuggingHandlers ? serveStream(streaming, request, socket, head) : Promise.resolve(false),
      observe: options.observe,
      requestStarted: options.requestStarted,
      replaceable: options.replaceable,
      logger,
    });
    servers.push(server);
  }
  options.listening();
  if (!signal.aborted) await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
  await Promise.all(servers.map((server) => server.close()));
}
