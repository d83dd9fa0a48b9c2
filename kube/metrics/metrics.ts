// The metrics every component has, under upstream's names: process, API client and work queues.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { RequestObserver } from '../client/config.ts';
import type { QueueObserver } from '../queue/work-queue.ts';

export interface ComponentMetrics {
  /** Components register their own metrics here. */
  registry: Registry;
  clientObserver: RequestObserver;
  /** The observer of one named queue. */
  queueObserver(name: string): QueueObserver;
  /** The Prometheus text, and the content type to send with it. */
  render(): Promise<{ contentType: string; body: string }>;
}

const requestBuckets = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60];
const sizeBuckets = [64, 256, 512, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216];
const queueBuckets = Array.from({ length: 12 }, (_, exponent) => 10 ** (exponent - 8));

function createClientObserver(registers: Registry[]): RequestObserver {
  const requests = new Counter({
    name: 'rest_client_requests_total',
    help: 'Number of HTTP requests, partitioned by status code, method, and host.',
    labelNames: ['code', 'method', 'host'],
    registers,
  });
  const durations = new Histogram({
    name: 'rest_client_request_duration_seconds',
    help: 'Request latency in seconds. Broken down by verb, and host.',
    labelNames: ['verb', 'host'],
    buckets: requestBuckets,
    registers,
  });
  const labelNames = ['verb', 'host'] as const;
  const waits = new Histogram({
    name: 'rest_client_rate_limiter_duration_seconds',
    help: 'Client side rate limiter latency in seconds. Broken down by verb, and host.',
    labelNames,
    buckets: requestBuckets,
    registers,
  });
  const sizes = (kind: 'request' | 'response') =>
    new Histogram({
      name: `rest_client_${kind}_size_bytes`,
      help: `${kind === 'request' ? 'Request' : 'Response'} size in bytes. Broken down by verb and host.`,
      labelNames,
      buckets: sizeBuckets,
      registers,
    });
  const [sent, received] = [sizes('request'), sizes('response')];
  return {
    finished({ method, host, code, durationMs, requestBytes, responseBytes }) {
      const labels = { verb: method, host };
      requests.inc({ code, method, host });
      durations.observe(labels, durationMs / 1000);
      sent.observe(labels, requestBytes);
      if (responseBytes !== undefined) received.observe(labels, responseBytes);
    },
    limited: ({ method, host, waitedMs }) => waits.observe({ verb: method, host }, waitedMs / 1000),
  };
}

function createQueueMetrics(registers: Registry[]): (name: string) => QueueObserver {
  const labelNames = ['name'] as const;
  const depth = new Gauge({ name: 'workqueue_depth', help: 'Current depth of workqueue', labelNames, registers });
  const adds = new Counter({
    name: 'workqueue_adds_total',
    help: 'Total number of adds handled by workqueue',
    labelNames,
    registers,
  });
  const retries = new Counter({
    name: 'workqueue_retries_total',
    help: 'Total number of retries handled by workqueue',
    labelNames,
    registers,
  });
  const waited = new Histogram({
    name: 'workqueue_queue_duration_seconds',
    help: 'How long in seconds an item stays in workqueue before being requested.',
    labelNames,
    buckets: queueBuckets,
    registers,
  });
  const worked = new Histogram({
    name: 'workqueue_work_duration_seconds',
    help: 'How long in seconds processing an item from workqueue takes.',
    labelNames,
    buckets: queueBuckets,
    registers,
  });
  return (name) => ({
    added(length) {
      adds.inc({ name });
      depth.set({ name }, length);
    },
    started(length, waitedMs) {
      depth.set({ name }, length);
      waited.observe({ name }, waitedMs / 1000);
    },
    finished: (tookMs) => worked.observe({ name }, tookMs / 1000),
    retried: () => retries.inc({ name }),
  });
}

/** Creates a registry of its own with the shared metrics in it. */
export function createMetrics(): ComponentMetrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  // Gauges with the names of counters, which checkers of metrics refuse.
  for (const kind of ['handles', 'requests', 'resources']) registry.removeSingleMetric(`nodejs_active_${kind}_total`);
  return {
    registry,
    clientObserver: createClientObserver([registry]),
    queueObserver: createQueueMetrics([registry]),
    render: async () => ({ contentType: registry.contentType, body: await registry.metrics() }),
  };
}
