// Puts the API server together on an open store.
import type { Logger } from 'pino';
import type { Registry as MetricsRegistry } from 'prom-client';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import {
  clusterrolebindings,
  clusterroles,
  pods,
  rolebindings,
  roles,
  services,
} from '#kube/api/generated/resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import { metricsGroup, metricsVersion } from '../addons/resource-metrics/metrics-objects.ts';
import { withConfigurationRules } from '../admission/configuration-rules.ts';
import { defaultPlugins } from '../admission/default-plugins.ts';
import { chainAdmission } from '../admission/plugin.ts';
import { followPolicyStatus } from '../admission/policy/policy-status.ts';
import { followQuotas } from '../admission/quota/quota-status.ts';
import { createWebhookMetrics } from '../admission/webhook/webhook-metrics.ts';
import { chainAuthenticators } from '../authn/authenticator.ts';
import { createBearerTokenAuthenticator } from '../authn/bearer-token.ts';
import { createBootstrapTokens } from '../authn/bootstrap-token.ts';
import { createClientCertificateAuthenticator } from '../authn/client-certificate.ts';
import { createImpersonation } from '../authn/impersonation.ts';
import { createServiceAccountTokens } from '../authn/service-account-tokens.ts';
import { createAuthorizer } from '../authz/create-authorizer.ts';
import { createNodeAuthorizer } from '../authz/node/node-authorizer.ts';
import { createNodeGraph, type NodeGraph } from '../authz/node/node-graph.ts';
import { followAggregatedRoles } from '../authz/rbac/aggregated-roles.ts';
import { createRbacAuthorizer } from '../authz/rbac/rbac-authorizer.ts';
import { ensureBootstrapObjects } from '../bootstrap/bootstrap-objects.ts';
import { ensureBootstrapStatuses } from '../bootstrap/bootstrap-statuses.ts';
import { ensureKubernetesService } from '../bootstrap/kubernetes-service.ts';
import type { ControlPlaneConfig } from '../config.ts';
import type { ClusterPki } from '../pki/cluster-pki.ts';
import { createPortClaims, sweepPortClaims } from '../registry/allocation/service-claims.ts';
import { createCustomKinds } from '../registry/custom/custom-kinds.ts';
import type { PrinterFor } from '../registry/kind-rules.ts';
import type { KindRules, Registry } from '../registry/registry.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { Backend, StoredEntry } from '../storage/backend.ts';
import { createWebhookCaller } from '../webhooks/call-webhook.ts';
import { ensureAuthenticationConfig } from './aggregation/authentication-config.ts';
import { createAggregator } from './aggregation/create-aggregator.ts';
import type { ApiContext } from './api-context.ts';
import { openAuditor } from './audit/open-auditor.ts';
import { createClusterIpObjects } from './cluster-ip-objects.ts';
import { createRegistry } from './create-registry.ts';
import { followDefinitions } from './custom-resources.ts';
import { buildDiscovery } from './discovery/discovery-documents.ts';
import { createFlowControl } from './flow-control/create-flow-control.ts';
import { followFlowSchemas } from './flow-control/follow-flow-schemas.ts';
import type { HealthCheck } from './health.ts';
import { createUpkeep, runPeriodically } from './maintenance.ts';
import { createRequestMetrics } from './metrics.ts';
import { createMetricsApi, metricsResources } from './metrics-api/create-metrics-api.ts';
import { createOpenApiV2Handler } from './openapi/openapi-v2.ts';
import { createOpenApiV3Handler } from './openapi/openapi-v3.ts';
import { createOpenIdHandler } from './openid.ts';
import { createProtobufCodec } from './protobuf/protobuf-codec.ts';
import { createProxyHandlers } from './proxy/proxy-handlers.ts';
import { rebuilt } from './rebuilt.ts';
import { createRequestHandler, type RequestHandlerDeps } from './request-handler.ts';
import { createRoutes } from './routes.ts';
import { createHttpsServer } from './server.ts';
import { followStorageProtection } from './storage-protection.ts';
import { createUpgradeHandler } from './upgrade-handler.ts';
import { WatchHub } from './watch/watch-hub.ts';

export interface ApiServerDeps {
  config: ControlPlaneConfig;
  backend: Backend;
  pki: ClusterPki;
  /** Verifies agents' serving certificates; undefined: not verified, as in the reference. */
  agentCaPem: string | undefined;
  rules: KindRules;
  printerFor: PrinterFor;
  clock: Clock;
  logger: Logger;
  /** Where metrics are registered, with those of others in the process; a registry of its own where absent. */
  metricsRegistry?: MetricsRegistry;
  /** Called with the port in use once the server listens. */
  listening?: (port: number) => void;
}

/** As often as the reference looks after its own service. */
const serviceCheckMs = 10_000;
/** As often as the reference looks after APIs that other servers serve. */
const aggregationCheckMs = 30_000;

/** Claims to node ports that nobody uses are looked for so often, where several servers share a store. */
const portSweepMs = 600_000;

const serverUser = { username: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] };

/** Tells the graph of every pod, those stored already first. */
function followPods(registry: Pick<Registry, 'table' | 'parse' | 'cache'>, nodes: NodeGraph): void {
  const { storagePrefix } = registry.table.get(pods);
  const podOf = (entry: StoredEntry) => registry.parse(entry) as Pod;
  for (const entry of registry.cache.resource(storagePrefix).walk()) nodes.observePod(entry.key, podOf(entry));
  registry.cache.onChange(storagePrefix, ({ type, entry }) =>
    nodes.observePod(entry.key, type === 'put' ? podOf(entry) : undefined),
  );
}

/** The API server as a component: ready when it serves and the bootstrap objects are there. */
export async function createApiServer(deps: ApiServerDeps): Promise<Component> {
  const { config, backend, pki, clock } = deps;
  const logger = deps.logger.child({ component: 'apiserver' });
  const stopping = new AbortController();
  const clusterIps = createClusterIpObjects({ logger, clock });
  const portClaims = {
    backend,
    clock,
    failed: (error: unknown) => logger.warn({ err: error }, 'could not give back the claim to a node port'),
  };
  const open = await createRegistry({
    backend,
    rules: deps.rules,
    serviceCidrs: config.serviceCidrs,
    nodePorts: config.nodePorts,
    claims: {
      claimAddress: clusterIps.claim,
      unclaimAddress: clusterIps.unclaim,
      ...createPortClaims(portClaims),
    },
    logger,
  });
  const { parts: builtIn } = open;
  const kinds = createCustomKinds();
  const parts = {
    ...builtIn,
    rules: kinds.withRules(withConfigurationRules(builtIn.rules)),
    strategyOf: kinds.withStrategies(clusterIps.withStrategies(builtIn.strategyOf)),
  };
  const callWebhook = createWebhookCaller(parts.objects, Math.random);
  const rbac = createRbacAuthorizer(parts.objects);
  for (const resource of [roles, rolebindings, clusterroles, clusterrolebindings]) {
    parts.cache.onChange(parts.table.get(resource).storagePrefix, () => rbac.invalidate());
  }
  const graph = createNodeGraph(parts.objects);
  followPods(parts, graph);
  const nodeAuthorizer = createNodeAuthorizer(parts.objects, graph);
  const authorizer = createAuthorizer(config.requests.authorization, { node: nodeAuthorizer, rbac, clock });
  const metrics = createRequestMetrics(function* () {
    for (const { resource, storagePrefix } of parts.table.all) {
      if (storagePrefix === '') continue;
      const name = resource.group === '' ? resource.plural : `${resource.plural}.${resource.group}`;
      yield [name, parts.cache.resource(storagePrefix).size];
    }
  }, deps.metricsRegistry);
  const webhooks = { ...parts, authorizer, callWebhook, metrics: createWebhookMetrics(metrics.registry), logger };
  const plugins = defaultPlugins({ ...parts, authorizer, rbac, webhooks });
  const admission = chainAdmission(plugins, (type, { verb }, seconds, isRejected) =>
    webhooks.metrics.step(type, verb.toUpperCase(), isRejected, seconds),
  );
  const registry: Registry = { ...parts, admission };
  const tokens = await createServiceAccountTokens(pki.serviceAccount, config.issuer, registry.objects);
  const bootstrapTokens = createBootstrapTokens(registry.objects);
  const api: ApiContext = {
    registry,
    authorizer,
    printerFor: kinds.withPrinters(deps.printerFor),
    watches: new WatchHub(),
    protobuf: createProtobufCodec(registry.schema),
    logger,
    nowMs: clock.now,
    stopping: stopping.signal,
  };
  const { isFair, limits } = config.requests;
  const flows = createFlowControl({ isFair, limits, registry, metricsRegistry: metrics.registry, nowMs: clock.now });
  const auditor = await openAuditor(config.requests.audit, {
    logger,
    metricsRegistry: metrics.registry,
    nowMs: clock.now,
  });
  let isBootstrapped = false;
  const checks: HealthCheck[] = [
    { name: 'ping', failing: () => undefined },
    { name: 'log', failing: () => undefined },
    { name: 'etcd', failing: () => backend.failure?.message },
    {
      name: 'poststarthook/rbac/bootstrap-roles',
      failing: () => (isBootstrapped ? undefined : 'not finished'),
    },
    {
      name: 'shutdown',
      failing: () => (stopping.signal.aborted ? 'process is shutting down' : undefined),
      onlyReadiness: true,
    },
  ];
  /** The context of the server's own writes. */
  const ownContext = (): RequestContext => ({
    user: serverUser,
    nowMs: clock.now(),
    dryRun: false,
    fieldManager: 'kube-apiserver',
    warn: () => undefined,
  });
  const aggregator = createAggregator({
    registry,
    client: pki.frontProxy.client,
    logger,
    stopping: stopping.signal,
    context: ownContext,
    own: new Map([[`${metricsGroup}/${metricsVersion}`, [...metricsResources]]]),
  });
  const { kubeletClient: client } = pki;
  const metricsApi = createMetricsApi({
    registry,
    client,
    agentCaPem: deps.agentCaPem,
    intervalMs: config.controllers.metricResolutionMs,
    clock,
    logger,
  });
  const proxies = createProxyHandlers({ client, caPem: deps.agentCaPem }, Math.random);
  const handlerDeps: RequestHandlerDeps = {
    api,
    routes: createRoutes({ tokens, bootstrapTokens, rulesOf: authorizer.rulesOf, proxies }),
    nonResource: {
      discovery: rebuilt(registry.table, () =>
        buildDiscovery(registry.table, `${config.advertiseAddress}:${config.securePort}`),
      ),
      checks,
      metrics: metrics.text,
      handlers: [
        createOpenApiV3Handler(registry.schema, registry.table, aggregator.openApiV3),
        createOpenApiV2Handler(registry.schema, registry.table, aggregator.openApiV2),
        ...flows.handlers,
        createOpenIdHandler(tokens, `https://${config.advertiseAddress}:${config.securePort}`),
      ],
    },
    authenticate: chainAuthenticators([
      createClientCertificateAuthenticator(),
      createBearerTokenAuthenticator(tokens, bootstrapTokens, clock.now),
    ]),
    impersonate: createImpersonation(authorizer),
    metrics,
    auditor,
    limit: flows.limit,
    aggregator,
    metricsApi,
    requestTimeoutMs: config.requests.timeoutMs,
  };
  const advertised = { serviceIp: open.addresses.nth(1), address: config.advertiseAddress, port: config.securePort };
  const bootstrap = async (port: number): Promise<void> => {
    const options = {
      serviceCidrs: config.serviceCidrs,
      clientCaPem: pki.ca.certPem,
      localVolumes: config.localVolumeDir !== undefined,
      nodeNetwork: config.nodeNetwork,
    };
    const changed = () => void aggregator.sync();
    await followDefinitions({ registry, kinds, callWebhook, logger, context: ownContext, changed });
    await ensureBootstrapObjects(registry, ownContext(), options, logger);
    await ensureBootstrapStatuses(registry, ownContext());
    await ensureAuthenticationConfig(registry, pki, ownContext());
    aggregator.follow();
    advertised.port = port;
    await ensureKubernetesService(registry, ownContext(), advertised);
    clusterIps.follow(registry, ownContext, stopping.signal);
    isBootstrapped = true;
  };
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => undefined);
  const server = createHttpsServer({
    bindAddress: config.bindAddress,
    port: config.securePort,
    serving: pki.serving,
    clientCaPem: pki.ca.certPem,
    handle: createRequestHandler(handlerDeps),
    upgrade: createUpgradeHandler(handlerDeps, proxies),
    logger,
    listening: (port) => {
      logger.info({ address: config.bindAddress, port }, 'serving the API');
      bootstrap(port).then(() => {
        deps.listening?.(port);
        ready.resolve();
      }, ready.reject);
    },
  });
  return {
    ready: ready.promise,
    run: async (signal) => {
      const stop = () => stopping.abort(signal.reason);
      if (signal.aborted) stop();
      else signal.addEventListener('abort', stop, { once: true });
      ready.promise.catch(stop);
      const jobs = [
        ...flows.jobs,
        { name: 'aggregated APIs', intervalMs: aggregationCheckMs, run: aggregator.sync },
        createUpkeep({ registry, clock, logger, ...config }),
        {
          name: 'the service kubernetes',
          intervalMs: serviceCheckMs,
          run: async () => {
            if (isBootstrapped) await ensureKubernetesService(registry, ownContext(), advertised);
          },
        },
      ];
      if (backend.isShared) {
        const run = () => sweepPortClaims(portClaims, parts.objects.list(services));
        jobs.push({ name: 'claims to node ports', intervalMs: portSweepMs, run });
      }
      const maintenance = Promise.all([
        ...jobs.map((job) => runPeriodically(job, { clock, logger }, stopping.signal)),
        metricsApi.run(stopping.signal),
      ]);
      const stopStorage = followStorageProtection({ registry, logger, context: ownContext });
      const stopRoles = followAggregatedRoles({ registry, logger, context: ownContext });
      const stopFlows = followFlowSchemas({ registry, logger, context: ownContext, changed: flows.invalidate });
      const stopPolicies = followPolicyStatus({ registry, logger, context: ownContext });
      const stopQuotas = followQuotas({ registry, clock, logger, context: ownContext });
      try {
        await server.run(stopping.signal);
        if (!signal.aborted) await ready.promise;
      } catch (error) {
        ready.reject(error);
        throw error;
      } finally {
        stop();
        stopQuotas();
        stopPolicies();
        stopFlows();
        stopRoles();
        stopStorage();
        await maintenance;
        await auditor.close();
        await authorizer.close();
        open.close();
      }
    },
  };
}
