// NodeMetrics and PodMetrics of metrics.k8s.io/v1beta1, and their Tables. Pure.
// Form: what metrics-server answers.
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { formatQuantity, quantityOf } from '#kube/api/quantity.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Usage } from './compute-usage.ts';

export const metricsGroup = 'metrics.k8s.io';
export const metricsVersion = 'v1beta1';
const apiVersion = `${metricsGroup}/${metricsVersion}`;

interface Amounts {
  cpu: string;
  memory: string;
}

/** An object of the metrics API. */
export type MetricsObject = KubeObject & {
  timestamp: string;
  window: string;
  usage?: Amounts;
  containers?: { name: string; usage: Amounts }[];
};

function amountsOf(usages: readonly Usage[]): Amounts {
  const cpuNano = usages.reduce((sum, usage) => sum + usage.cpuNano, 0n);
  const memory = usages.reduce((sum, usage) => sum + usage.memoryBytes, 0);
  return {
    cpu: formatQuantity({ nano: cpuNano, format: 'DecimalSI' }),
    memory: formatQuantity(quantityOf(BigInt(Math.round(memory)), 'BinarySI')),
  };
}

/** As Go writes durations: `1m2.5s`. */
function formatWindow(windowMs: number): string {
  const minutes = Math.floor(windowMs / 60_000);
  const seconds = `${(windowMs - minutes * 60_000) / 1000}s`;
  return minutes === 0 ? seconds : `${minutes}m${seconds}`;
}

function metadataOf({ metadata: { name, namespace, labels } }: KubeObject, nowMs: number): KubeObject['metadata'] {
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    creationTimestamp: formatTime(nowMs),
    ...(labels === undefined ? {} : { labels }),
  };
}

export function nodeMetrics(node: Node & KubeObject, usage: Usage, nowMs: number): MetricsObject {
  return {
    kind: 'NodeMetrics',
    apiVersion,
    metadata: metadataOf(node, nowMs),
    timestamp: formatTime(usage.atMs),
    window: formatWindow(usage.windowMs),
    usage: amountsOf([usage]),
  };
}

/** The time is that of the container that was measured first. */
export function podMetrics(pod: Pod & KubeObject, usages: ReadonlyMap<string, Usage>, nowMs: number): MetricsObject {
  const all = [...usages.values()];
  const earliest = all.reduce<Usage | undefined>(
    (least, each) => (least === undefined || each.atMs < least.atMs ? each : least),
    undefined,
  );
  return {
    kind: 'PodMetrics',
    apiVersion,
    metadata: metadataOf(pod, nowMs),
    timestamp: formatTime(earliest?.atMs ?? nowMs),
    window: formatWindow(earliest?.windowMs ?? 0),
    containers: [...usages].map(([name, usage]) => ({ name, usage: amountsOf([usage]) })),
  };
}

/** The list of a kind as the API answers it. */
export function metricsList(kind: string, items: readonly MetricsObject[]): object {
  return { kind: `${kind}List`, apiVersion, metadata: {}, items };
}

export const metricsColumns = [
  { name: 'Name', type: 'string', format: 'name', description: 'Name of the resource', priority: 0 },
  { name: 'cpu', type: 'string', format: 'quantity', description: 'Processors in use', priority: 0 },
  { name: 'memory', type: 'string', format: 'quantity', description: 'Working set in bytes', priority: 0 },
  { name: 'Window', type: 'string', format: 'duration', description: 'Time that was measured over', priority: 0 },
];

/** The cells of those columns; `usages` are all that the object sums up. */
export function metricsCells({ metadata, window }: MetricsObject, usages: readonly Usage[]): string[] {
  const { cpu, memory } = amountsOf(usages);
  return [metadata.name, cpu, memory, window];
}
