// Reads metrics for autoscalers from the three APIs that have them: resources, custom, external. Answers come from
// whoever serves those APIs: what is not as it should be counts as absent.
import type { CrossVersionObjectReference } from '#kube/api/generated/autoscaling-v2.ts';
import { milliValue } from '#kube/api/quantity.ts';
import { parseTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import type { PodMetric, PodMetrics } from './compute-replicas.ts';

export interface MetricsReader {
  /** Of a resource; of one container where its name is not empty. */
  resource(namespace: string, selector: string, resource: string, container: string): Promise<PodMetrics>;
  /** A metric that pods have. */
  pods(namespace: string, selector: string, metric: string, metricSelector: string): Promise<PodMetrics>;
  /** A metric of one object, in thousandths. `plural` is `deployments.apps`. */
  object(
    namespace: string,
    plural: string,
    described: CrossVersionObjectReference,
    metric: string,
    metricSelector: string,
  ): Promise<number>;
  /** The sum of the values of an external metric, in thousandths. */
  external(namespace: string, metric: string, metricSelector: string): Promise<number>;
}

interface ResourceItem {
  metadata?: { name?: string };
  timestamp?: string;
  window?: string;
  containers?: { name?: string; usage?: Record<string, string> }[];
}

interface ValueItem {
  describedObject?: { name?: string };
  timestamp?: string;
  windowSeconds?: number | null;
  value?: string;
}

const defaultWindowMs = 60_000;

/** Go's form of durations, as far as windows have it. */
function windowMs(text: string | undefined): number {
  const match = /^(?:(\d+)h)?(?:(\d+)m)?(?:([\d.]+)s)?$/.exec(text ?? '');
  if (match === null) return defaultWindowMs;
  const [, hours = 0, minutes = 0, seconds = 0] = match;
  return (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000;
}

function query(parameters: Record<string, string>): string {
  const given = Object.entries(parameters).filter(([, value]) => value !== '');
  return given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`;
}

function resourceMetric(item: ResourceItem, resource: string, container: string): PodMetric | undefined {
  const containers = (item.containers ?? []).filter(({ name }) => container === '' || name === container);
  const values = containers.map(({ usage }) => usage?.[resource]);
  // A pod of which one container was not measured was not measured.
  if (values.length === 0 || values.includes(undefined)) return undefined;
  const milli = values.reduce((sum, value) => sum + milliValue(value), 0);
  return { milli, atMs: parseTime(item.timestamp) ?? 0, windowMs: windowMs(item.window) };
}

export function createMetricsReader(client: Pick<ApiClient, 'raw'>): MetricsReader {
  async function list<T>(api: string, path: string): Promise<T[]> {
    try {
      const { items } = await client.raw<{ items?: T[] }>({ method: 'GET', path });
      return Array.isArray(items) ? items : [];
    } catch (error) {
      const why = isNotFound(error) && !path.startsWith('/apis/metrics.') ? notRegistered[api] : undefined;
      const message = why ?? (error instanceof Error ? error.message : String(error));
      throw new Error(`unable to fetch metrics from ${api} metrics API: ${message}`, { cause: error });
    }
  }

  const custom = (namespace: string, plural: string, name: string, metric: string) =>
    `/apis/custom.metrics.k8s.io/v1beta2/namespaces/${[namespace, plural, name, metric].map(encodeURIComponent).join('/')}`;

  return {
    async resource(namespace, selector, resource, container) {
      const path = `/apis/metrics.k8s.io/v1beta1/namespaces/${namespace}/pods${query({ labelSelector: selector })}`;
      const items = await list<ResourceItem>('resource', path);
      if (items.length === 0) throw new Error('no metrics returned from resource metrics API');
      const metrics = new Map<string, PodMetric>();
      for (const item of items) {
        const metric = resourceMetric(item, resource, container);
        if (metric !== undefined) metrics.set(item.metadata?.name ?? '', metric);
      }
      if (metrics.size === 0) throw new Error('no metrics returned from resource metrics API');
      return metrics;
    },
    async pods(namespace, selector, metric, metricSelector) {
      const path = custom(namespace, 'pods', '*', metric);
      const options = query({ labelSelector: selector, metricLabelSelector: metricSelector });
      const items = await list<ValueItem>('custom', `${path}${options}`);
      if (items.length === 0) throw new Error('no metrics returned from custom metrics API');
      return new Map(
        items.map(({ describedObject, timestamp, windowSeconds, value }) => [
          describedObject?.name ?? '',
          {
            milli: milliValue(value),
            atMs: parseTime(timestamp) ?? 0,
            windowMs: windowSeconds === undefined || windowSeconds === null ? defaultWindowMs : windowSeconds * 1000,
          },
        ]),
      );
    },
    async object(namespace, plural, { kind, name }, metric, metricSelector) {
      const path =
        kind === 'Namespace'
          ? `/apis/custom.metrics.k8s.io/v1beta2/namespaces/${name}/metrics/${encodeURIComponent(metric)}`
          : custom(namespace, plural, name, metric);
      const [item] = await list<ValueItem>('custom', `${path}${query({ metricLabelSelector: metricSelector })}`);
      if (item === undefined) throw new Error('no metrics returned from custom metrics API');
      return milliValue(item.value);
    },
    async external(namespace, metric, metricSelector) {
      const path = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/${encodeURIComponent(metric)}`;
      const items = await list<ValueItem>('external', `${path}${query({ labelSelector: metricSelector })}`);
      if (items.length === 0) throw new Error('no metrics returned from external metrics API');
      return items.reduce((sum, { value }) => sum + milliValue(value), 0);
    },
  };
}

const notRegistered: Readonly<Record<string, string>> = {
  custom: 'no custom metrics API (custom.metrics.k8s.io) registered',
  external: 'the server could not find the requested resource',
};
