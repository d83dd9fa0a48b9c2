// The API server's own metrics, under the names of the reference.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Exchange } from './http/exchange.ts';
import { isLongRunning } from './http/long-running.ts';

export interface RequestMetrics {
  /** Counts a request; call the answer when it is done. */
  begin(exchange: Exchange): () => void;
  /** Where further metrics of the server are registered. */
  registry: Registry;
  text(): Promise<{ contentType: string; text: string }>;
}

const durationBuckets = [
  0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60,
];

function scopeOf({ info }: Exchange): string {
  if (!info.isResource) return '';
  if (info.name !== '') return 'resource';
  return info.namespace === '' ? 'cluster' : 'namespace';
}

/** `storedObjects` reports the number of objects by resource. `shared` is a registry that others of the process use too. */
export function createRequestMetrics(
  storedObjects: () => Iterable<[string, number]>,
  shared: Registry | undefined,
): RequestMetrics {
  const registry = shared ?? new Registry();
  if (shared === undefined) collectDefaultMetrics({ register: registry });
  const labelNames = ['verb', 'group', 'version', 'resource', 'subresource', 'scope'] as const;
  const registers = [registry];
  const total = new Counter({
    name: 'apiserver_request_total',
    help: 'Requests by verb, resource and answer.',
    labelNames: [...labelNames, 'code'],
    registers,
  });
  const duration = new Histogram({
    name: 'apiserver_request_duration_seconds',
    help: 'Time to answer, watches and proxied streams aside.',
    labelNames,
    buckets: durationBuckets,
    registers,
  });
  const inFlight = new Gauge({
    name: 'apiserver_current_inflight_requests',
    help: 'Requests being served now.',
    labelNames: ['request_kind'],
    registers,
  });
  const longRunning = new Gauge({
    name: 'apiserver_longrunning_requests',
    help: 'Open watches and proxied streams.',
    labelNames,
    registers,
  });
  new Gauge({
    name: 'apiserver_storage_objects',
    help: 'Objects in the store by resource.',
    labelNames: ['resource'],
    registers,
    collect() {
      for (const [resource, count] of storedObjects()) this.set({ resource }, count);
    },
  });
  return {
    begin: (exchange) => {
      const { info } = exchange;
      const labels = {
        verb: info.isResource ? info.verb.toUpperCase() : (exchange.request.method ?? ''),
        group: info.group,
        version: info.version,
        resource: info.plural,
        subresource: info.subresource,
        scope: scopeOf(exchange),
      };
      const isLong = isLongRunning(info);
      const isRead = exchange.request.method === 'GET';
      const startedMs = performance.now();
      const kind = { request_kind: isRead ? 'readOnly' : 'mutating' };
      if (isLong) longRunning.inc(labels);
      else inFlight.inc(kind);
      return () => {
        total.inc({ ...labels, code: String(exchange.response.statusCode) });
        if (isLong) longRunning.dec(labels);
        else {
          inFlight.dec(kind);
          duration.observe(labels, (performance.now() - startedMs) / 1000);
        }
      };
    },
    registry,
    text: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
  };
}
