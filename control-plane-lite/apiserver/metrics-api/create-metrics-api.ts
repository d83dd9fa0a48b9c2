// metrics.k8s.io: what nodes and pods use, as the agents tell it. An APIService of that name with a service takes over.
import type { Logger } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { apiservices, nodes, pods } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Usage } from '../../addons/resource-metrics/compute-usage.ts';
import {
  type MetricsObject,
  metricsCells,
  metricsColumns,
  metricsGroup,
  metricsList,
  metricsVersion,
  nodeMetrics,
  podMetrics,
} from '../../addons/resource-metrics/metrics-objects.ts';
import { scrapeNodes } from '../../addons/resource-metrics/scrape-nodes.ts';
import { createUsageStore } from '../../addons/resource-metrics/usage-store.ts';
import type { KeyPair } from '../../pki/certificate-authority.ts';
import type { Registry } from '../../registry/registry.ts';
import type { DiscoveredResource } from '../../registry/resource-table.ts';
import { methodNotAllowed, notFound, pathNotFound } from '../../registry/status-errors.ts';
import { type Exchange, sendJson, sendObject } from '../http/exchange.ts';
import { negotiate } from '../http/negotiate.ts';
import { parseSelection, type Selection } from './parse-selection.ts';
import { createAgentScraper } from './scrape-agent.ts';

export interface MetricsApiDeps {
  registry: Pick<Registry, 'objects'>;
  client: KeyPair;
  /** Verifies agents' serving certificates; undefined: not verified. */
  agentCaPem: string | undefined;
  /** How often agents are asked. */
  intervalMs: number;
  clock: Clock;
  logger: Logger;
}

export interface MetricsApi {
  /** Answers requests of its group version; false for others. Throws StatusError. */
  serve(exchange: Exchange): boolean;
  /** Asks the agents until aborted. */
  run(signal: AbortSignal): Promise<void>;
}

/** For discovery. */
export const metricsResources: readonly DiscoveredResource[] = [
  { name: 'nodes', singularName: '', namespaced: false, kind: 'NodeMetrics', verbs: ['get', 'list'] },
  { name: 'pods', singularName: '', namespaced: true, kind: 'PodMetrics', verbs: ['get', 'list'] },
];

interface Measured {
  object: MetricsObject;
  usages: readonly Usage[];
}

function sendMeasured(exchange: Exchange, kind: string, measured: readonly Measured[], isList: boolean): void {
  const { representation, metaVersion } = negotiate(exchange.request.headers.accept, { isCustom: true });
  const [first] = measured;
  if (representation === 'table') {
    const rows = measured.map(({ object, usages }) => ({
      cells: metricsCells(object, usages),
      object: { kind: 'PartialObjectMetadata', apiVersion: `meta.k8s.io/${metaVersion}`, metadata: object.metadata },
    }));
    const head = { kind: 'Table', apiVersion: `meta.k8s.io/${metaVersion}`, metadata: {} };
    sendJson(exchange, 200, { ...head, columnDefinitions: metricsColumns, rows });
  } else if (isList || first === undefined) {
    sendObject(
      exchange,
      200,
      metricsList(
        kind,
        measured.map(({ object }) => object),
      ),
    );
  } else sendObject(exchange, 200, first.object);
}

export function createMetricsApi(deps: MetricsApiDeps): MetricsApi {
  const { registry, clock, logger, intervalMs } = deps;
  const { objects } = registry;
  const store = createUsageStore(clock);
  const isReplaced = () =>
    (objects.get(apiservices, '', `${metricsVersion}.${metricsGroup}`)?.spec.service ?? null) !== null;

  function ofNode(node: KubeObject & Node): Measured[] {
    const usage = store.node(node.metadata.name);
    return usage === undefined ? [] : [{ object: nodeMetrics(node, usage, clock.now()), usages: [usage] }];
  }

  function ofPod(pod: KubeObject & Pod): Measured[] {
    const { name, namespace = '' } = pod.metadata;
    const usages = pod.status?.phase === 'Running' ? store.pod(pod.spec?.nodeName ?? '', namespace, name) : undefined;
    if (usages === undefined) return [];
    return [{ object: podMetrics(pod, usages, clock.now()), usages: [...usages.values()] }];
  }

  function select<T extends KubeObject>(all: readonly T[], selection: Selection, measure: (object: T) => Measured[]) {
    return all.filter(selection).flatMap(measure);
  }

  return {
    serve(exchange) {
      const { info } = exchange;
      if (info.group !== metricsGroup || info.version !== metricsVersion || !info.isResource) return false;
      const isNodes = info.plural === 'nodes' && info.namespace === '';
      if ((!isNodes && info.plural !== 'pods') || info.subresource !== '') throw pathNotFound();
      if (info.verb !== 'get' && info.verb !== 'list') throw methodNotAllowed();
      const kind = isNodes ? 'NodeMetrics' : 'PodMetrics';
      if (info.verb === 'list') {
        const selection = parseSelection(info.query);
        const measured = isNodes
          ? select(objects.list(nodes), selection, ofNode)
          : select(objects.list(pods, info.namespace), selection, ofPod);
        sendMeasured(exchange, kind, measured, true);
        return true;
      }
      const node = isNodes ? objects.get(nodes, '', info.name) : undefined;
      const pod = isNodes ? undefined : objects.get(pods, info.namespace, info.name);
      const measured = [...(node === undefined ? [] : ofNode(node)), ...(pod === undefined ? [] : ofPod(pod))];
      if (measured.length === 0) {
        const fullName = isNodes ? info.name : `${info.namespace}/${info.name}`;
        throw notFound({ group: metricsGroup, plural: info.plural }, fullName);
      }
      sendMeasured(exchange, kind, measured, false);
      return true;
    },
    run: async (signal) => {
      const scraper = createAgentScraper(objects, deps.client, deps.agentCaPem);
      const wanted = () => (isReplaced() ? [] : objects.list(nodes));
      try {
        const { scrape } = scraper;
        await scrapeNodes({ nodes: wanted, scrape, store, clock, logger, intervalMs }, signal);
      } finally {
        scraper.close();
      }
    },
  };
}
