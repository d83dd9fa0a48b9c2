// Builds the proxy from its configuration. The only place that constructs its parts.
import { networkInterfaces } from 'node:os';
import type { Logger } from 'pino';
import type { Node } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { createEventRecorder, referenceTo } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { createMetrics } from '#kube/metrics/metrics.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import type { Exec } from '#kube/process/exec.ts';
import { applyConntrack, readFlows } from './apply/conntrack.ts';
import { prepareNode } from './apply/prepare-node.ts';
import { createProgrammedServices } from './apply/programmed-services.ts';
import { createSyncLoop, type SyncLoop } from './apply/sync-loop.ts';
import { createSyncMetrics } from './apply/sync-metrics.ts';
import type { BindAddress, ProxyConfig } from './config/proxy-config.ts';
import { clusterAddresses, createClusterNames, servicesByIP } from './dns/cluster-names.ts';
import { createDnsServer } from './dns/dns-server.ts';
import { createForwarder } from './dns/forward.ts';
import { namedAddresses, slicesByHost } from './dns/named-hosts.ts';
import { asksUs, createNameservers } from './dns/nameservers.ts';
import { createHealthMetrics } from './health/health-metrics.ts';
import { createHealthServer, type HealthFacts, isHealthy } from './health/health-server.ts';
import { createServiceHealthServers, type ServiceHealth } from './health/service-health.ts';
import { computeIpvsNodePortAddresses } from './mode/ipvs-mode.ts';
import { chooseMode, createModes } from './mode.ts';
import type { DetectLocal } from './model/detect-local.ts';
import { computeListenAddresses, computeNodePortAddresses, type LocalAddresses } from './model/node-port-addresses.ts';
import { computeServiceHealth } from './model/service-health.ts';
import type { IpFamily } from './model/service-port.ts';
import { computeServiceState } from './model/service-state.ts';
import { createNodeNetwork } from './node-network.ts';
import { dummyInterface } from './plan/ipvs/rules.ts';
import { planStaleFlows } from './plan/plan-conntrack.ts';
import { createServiceTracker, serviceKeyOf, slicesByService } from './track/service-tracker.ts';

const notOurs = '!service.kubernetes.io/service-proxy-name';
const notHeadless = `${notOurs},!service.kubernetes.io/headless`;
/** The autoscaler's word that a node is about to go. */
const deletionTaint = 'ToBeDeletedByClusterAutoscaler';

export interface ProxyDependencies {
  config: ProxyConfig;
  nodeName: string;
  clock: Clock;
  exec: Exec;
  env: Record<string, string | undefined>;
  logger: Logger;
}

/** What rules take from the node, to compare. */
function nodeFacts(node: Node | undefined): string {
  const addresses = (node?.status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
  return JSON.stringify([addresses.map(({ address }) => address), node?.spec?.podCIDRs ?? []]);
}

/** Addresses of the machine, without those that mode ipvs gives it for services. */
function localAddresses(): string[] {
  return Object.entries(networkInterfaces())
    .flatMap(([name, addresses]) => (name === dummyInterface ? [] : (addresses ?? [])))
    .map(({ address }) => address);
}

/** The proxy for the families this machine has. Rejects when it can use none. */
export async function createProxy({
  config,
  nodeName,
  clock,
  exec,
  env,
  logger,
}: ProxyDependencies): Promise<Component> {
  const clientConfig = loadClientConfig({ exec, clock, env }, config.kubeconfig);
  const modes = createModes({ config, exec, clock, logger });
  const chosen = await chooseMode(modes, config.mode, logger);
  const { mode, families } = chosen;
  const settings = config.modes[mode.name];
  logger.info({ mode: mode.name, families }, 'the proxy programs rules in this mode');
  const metrics = createMetrics();
  const client = createClient({
    ...clientConfig,
    ...(config.master === undefined ? {} : { servers: [config.master] }),
    name: 'proxy',
    observer: metrics.clientObserver,
    clock,
  });
  const common = { client, clock, logger };
  const services = createInformer({
    ...common,
    resource: resources.services,
    labelSelector: notOurs,
    indexes: { [servicesByIP]: clusterAddresses },
  });
  const slices = createInformer({
    ...common,
    resource: resources.endpointslices,
    // DNS answers for headless services too; rules never look at them.
    labelSelector: config.dnsBindAddress === undefined ? notHeadless : notOurs,
    indexes: {
      [slicesByService]: serviceKeyOf,
      ...(config.dnsBindAddress === undefined ? {} : { [slicesByHost]: namedAddresses }),
    },
  });
  const nodes = createInformer({ ...common, resource: resources.nodes, fieldSelector: `metadata.name=${nodeName}` });
  const node = () => nodes.get(nodeName);
  const nodeIPs = (): string[] =>
    (node()?.status?.addresses ?? []).filter(({ type }) => type === 'InternalIP').map(({ address }) => address);
  const addresses = (): LocalAddresses => ({ nodeIPs: nodeIPs(), interfaces: localAddresses() });
  const topology = () => ({ nodeName, zone: node()?.metadata.labels?.['topology.kubernetes.io/zone'] });
  const tracker = createServiceTracker(services, slices);
  const syncMetrics = createSyncMetrics(metrics.registry, clock, mode.name);

  const programmed = createProgrammedServices(metrics.registry);
  const recorder = createEventRecorder({ client, component: 'kube-proxy', host: nodeName, clock, logger });
  const onRefused = (key: string, error: unknown): void => {
    const service = services.get(key);
    if (service === undefined) return;
    const reason = error instanceof Error ? error.message : String(error);
    recorder.event(
      referenceTo(resources.services, service),
      'Warning',
      'FailedToProgramService',
      `The kernel of node ${nodeName} refuses the rules of this service: ${reason}`,
    );
  };

  const detectLocal = (): DetectLocal => {
    switch (config.detectLocalMode) {
      case 'ClusterCIDR':
        return { mode: 'ClusterCIDR', cidrs: config.clusterCIDRs };
      case 'NodeCIDR':
        return { mode: 'NodeCIDR', cidrs: node()?.spec.podCIDRs ?? [] };
      case 'BridgeInterface':
        return { mode: 'BridgeInterface', name: config.bridgeInterface };
      case 'InterfaceNamePrefix':
        return { mode: 'InterfaceNamePrefix', prefix: config.interfaceNamePrefix };
      default:
        return config.detectLocalMode satisfies never;
    }
  };

  const serviceCIDRs =
    mode.name === 'nftables' ? createInformer({ ...common, resource: resources.servicecidrs }) : undefined;
  const serviceRanges = (): string[] => serviceCIDRs?.list().flatMap(({ spec }) => spec?.cidrs ?? []) ?? [];
  const createLoop = (family: IpFamily): SyncLoop => {
    const applier = mode.createApplier(family, {
      detectLocal: detectLocal(),
      addresses: addresses(),
      serviceCIDRs: serviceRanges,
    });
    return createSyncLoop({
      family,
      applier,
      tracker,
      topology,
      deleteConntrack: (deletions) => applyConntrack(exec, deletions),
      planStale: async (states) => {
        const ports = [...states].flatMap((state) => [...state.values()]);
        if (!ports.some(({ port }) => port.protocol === 'UDP')) return [];
        return planStaleFlows(await readFlows(exec, family), ports, new Set(localAddresses()));
      },
      minSyncPeriodMs: settings.minSyncPeriodMs,
      syncPeriodMs: settings.syncPeriodMs,
      metrics: syncMetrics,
      programmed,
      onRefused,
      clock,
      logger,
    });
  };

  /** Once the rules are in place those of another mode may go; until then they served. */
  const leaveOtherModes = async (): Promise<void> => {
    const others = Object.values(modes).filter((other) => other !== mode);
    for (const other of others) {
      for (const family of families) {
        await other.cleanup(family, mode.keptChains(family)).catch((error: unknown) => {
          logger.warn({ err: error, mode: other.name, family }, 'cannot remove the rules of another mode');
        });
      }
    }
  };
  const readServiceHealth = (key: string): ServiceHealth | undefined => {
    const { service, slices: own } = tracker.read(key);
    const states = families.map((family) => [...computeServiceState(service, own, family, topology()).values()]);
    const health = computeServiceHealth(states.find((ports) => ports.length > 0) ?? []);
    return health === undefined ? undefined : { serviceKey: key, ...health };
  };
  const timeoutMs = 2 * settings.syncPeriodMs;
  const facts: HealthFacts = {
    lastSyncMs: () => syncMetrics.lastSyncMs,
    lastPendingMs: () => syncMetrics.lastPendingMs,
    nodeEligible: () => {
      const current = node();
      if (current === undefined) return true;
      return (
        current.metadata.deletionTimestamp === undefined &&
        !current.spec.taints?.some(({ key }) => key === deletionTaint)
      );
    },
  };
  const rulesReady = Promise.withResolvers<void>();
  const rules: Pick<Component, 'run'> = {
    run: async (signal) => {
      await Promise.race([Promise.all([services.synced, slices.synced, nodes.synced]), aborted(signal)]);
      if (signal.aborted) return;
      await prepareNode(config, chosen, '/', logger);
      let loops = families.map(createLoop);
      let round = new AbortController();
      /** What rules take from the node and the machine, to compare. */
      const currentFacts = (): string => {
        const local = addresses();
        const taking = families.map((family) =>
          mode.name === 'ipvs'
            ? computeIpvsNodePortAddresses(settings.nodePortAddresses, family, local)
            : computeNodePortAddresses(settings.nodePortAddresses, family, local),
        );
        return JSON.stringify([nodeFacts(node()), taking]);
      };
      let known = currentFacts();
      // Addresses and pod ranges are in rules that all services share: the loops begin again with them.
      const compareNode = (): void => {
        const now = currentFacts();
        if (now === known) return;
        known = now;
        round.abort();
      };
      // The machine tells nobody of an address that it gets or loses.
      const followAddresses: Pick<Component, 'run'> = {
        run: async (ended) => {
          while (!ended.aborted) {
            await clock.sleep(settings.syncPeriodMs, ended).catch(() => undefined);
            if (!ended.aborted) compareNode();
          }
        },
      };
      let ranges = `${serviceRanges()}`;
      const resync = (): void => {
        if (`${serviceRanges()}` === ranges) return;
        ranges = `${serviceRanges()}`;
        for (const loop of loops) loop.resync();
      };
      const serviceHealth = createServiceHealthServers({
        hosts: computeListenAddresses(settings.nodePortAddresses, families, addresses()),
        proxyHealthy: () => isHealthy(facts, clock.now(), timeoutMs),
        logger,
      });
      const distribute = (): void => {
        const { keys, triggeredAtMs, changes } = tracker.takeDirty();
        if (keys.size > 0) for (const loop of loops) loop.markDirty(keys, triggeredAtMs, changes);
        for (const key of keys) serviceHealth.set(key, readServiceHealth(key));
      };
      tracker.onDirty(() => queueMicrotask(distribute));
      distribute();
      nodes.subscribe({
        added: compareNode,
        updated: (previous, current) => {
          const zone = 'topology.kubernetes.io/zone';
          if (previous.metadata.labels?.[zone] !== current.metadata.labels?.[zone])
            for (const loop of loops) loop.markAllDirty();
          compareNode();
        },
      });
      serviceCIDRs?.subscribe({ added: resync, updated: resync, deleted: resync });
      Promise.all(loops.map((loop) => loop.ready))
        .then(leaveOtherModes)
        .then(() => rulesReady.resolve());
      const rounds: Pick<Component, 'run'> = {
        run: async (ended) => {
          while (!ended.aborted) {
            await runGroup(loops, AbortSignal.any([ended, round.signal]));
            if (ended.aborted) return;
            logger.info('addresses or pod ranges of the node changed: writing all rules again');
            round = new AbortController();
            loops = families.map(createLoop);
            for (const loop of loops) loop.markAllDirty();
          }
        },
      };
      await runGroup([rounds, followAddresses, serviceHealth], signal);
    },
  };
  const health = createHealthServer({
    health: config.healthzBindAddress,
    metrics: config.metricsBindAddress,
    facts,
    mode: mode.name,
    programmed: programmed.list,
    answered: createHealthMetrics(metrics.registry),
    timeoutMs,
    renderMetrics: metrics.render,
    config,
    clock,
  });
  const createDns = (bind: BindAddress): Component => {
    const names = createClusterNames(services, slices);
    const nameservers = createNameservers('/etc/resolv.conf', asksUs(names, bind), clock);
    const forward = createForwarder({ nameservers, clock });
    return createDnsServer({ bind, zone: config.dnsDomain, names, forward, clock, logger });
  };
  const dns = config.dnsBindAddress === undefined ? [] : [createDns(config.dnsBindAddress)];
  const network = createNodeNetwork({ config, nodeName, client, registry: metrics.registry, clock, exec, logger });
  return {
    ready: Promise.all([rulesReady.promise, health.ready, ...dns.map((server) => server.ready)]).then(() => undefined),
    run: async (signal) => {
      try {
        const ranges = serviceCIDRs === undefined ? [] : [serviceCIDRs];
        await runGroup([services, slices, nodes, ...ranges, rules, health, ...dns, ...network], signal);
      } finally {
        await client.close();
      }
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener('abort', () => resolve(), { once: true });
  return promise;
}
