// The proxy's metrics, under kube-proxy's names.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '#kube/process/clock.ts';
import type { ModeName } from '../config/proxy-config.ts';
import type { IpFamily } from '../model/service-port.ts';

export interface SyncMetrics {
  synced(sync: { durationMs: number; full: boolean; rules: number; family: IpFamily }): void;
  failed(): void;
  /** A change arrived. */
  pending(): void;
  /** Milliseconds from the change of an endpoint to its rule. */
  programmed(latencyMs: number): void;
  /** Milliseconds since the epoch of the last successful sync and the last change; 0 for never. */
  readonly lastSyncMs: number;
  readonly lastPendingMs: number;
}

const syncBuckets = Array.from({ length: 15 }, (_, i) => 0.001 * 2 ** i);
const programmingBuckets = [
  0.25,
  0.5,
  1,
  ...Array.from({ length: 59 }, (_, i) => i + 2),
  65,
  70,
  80,
  90,
  100,
  120,
  150,
  200,
  300,
];

export function createSyncMetrics(registry: Registry, clock: Clock, mode: ModeName): SyncMetrics {
  const registers = [registry];
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, buckets, registers });
  const duration = histogram(
    'kubeproxy_sync_proxy_rules_duration_seconds',
    'SyncProxyRules latency in seconds',
    syncBuckets,
  );
  const full = histogram(
    'kubeproxy_sync_full_proxy_rules_duration_seconds',
    'SyncProxyRules latency in seconds for full resyncs',
    syncBuckets,
  );
  const partial = histogram(
    'kubeproxy_sync_partial_proxy_rules_duration_seconds',
    'SyncProxyRules latency in seconds for partial resyncs',
    syncBuckets,
  );
  const programming = histogram(
    'kubeproxy_network_programming_duration_seconds',
    'In Cluster Network Programming Latency in seconds',
    programmingBuckets,
  );
  const lastSync = new Gauge({
    name: 'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    help: 'The last time proxy rules were successfully synced',
    registers,
  });
  const lastQueued = new Gauge({
    name: 'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
    help: 'The last time a sync of proxy rules was queued',
    registers,
  });
  const failures = new Counter({
    name:
      mode !== 'nftables'
        ? 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total'
        : 'kubeproxy_sync_proxy_rules_nftables_sync_failures_total',
    help: `Cumulative proxy ${mode !== 'nftables' ? 'iptables restore' : 'nftables sync'} failures`,
    registers,
  });
  // Upstream counts rules in mode iptables only.
  const rules =
    mode !== 'iptables'
      ? undefined
      : new Gauge({
          name: 'kubeproxy_sync_proxy_rules_iptables_total',
          help: 'Total number of iptables rules owned by kube-proxy',
          labelNames: ['table', 'ip_family'],
          registers,
        });
  let lastSyncMs = 0;
  let lastPendingMs = 0;
  return {
    synced: (sync) => {
      lastSyncMs = clock.now();
      duration.observe(sync.durationMs / 1000);
      (sync.full ? full : partial).observe(sync.durationMs / 1000);
      lastSync.set(lastSyncMs / 1000);
      rules?.set({ table: 'nat', ip_family: sync.family }, sync.rules);
    },
    failed: () => failures.inc(),
    pending: () => {
      lastPendingMs = clock.now();
      lastQueued.set(lastPendingMs / 1000);
    },
    programmed: (latencyMs) => programming.observe(latencyMs / 1000),
    get lastSyncMs() {
      return lastSyncMs;
    },
    get lastPendingMs() {
      return lastPendingMs;
    },
  };
}
