// The proxy's metrics, under kube-proxy's names, and some of berth's own.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '#kube/process/clock.ts';
import type { ModeName } from '../config/proxy-config.ts';
import type { IpFamily } from '../model/service-port.ts';
import type { ObjectChanges } from '../track/service-tracker.ts';
import type { ServiceState } from './rule-applier.ts';

export interface SyncMetrics {
  synced(sync: { durationMs: number; full: boolean; lines: number; rules: number; family: IpFamily }): void;
  failed(family: IpFamily): void;
  /** The services whose rules the kernel refuses now. */
  refused(family: IpFamily, serviceKeys: readonly string[]): void;
  /** A change arrived: of so many objects. */
  pending(family: IpFamily, changes?: ObjectChanges): void;
  /** Milliseconds from the change of an endpoint, as its writer noted it, to its rule. */
  programmed(family: IpFamily, latencyMs: number): void;
  /** Milliseconds from the arrival of a change here to its rule. */
  applied(family: IpFamily, latencyMs: number): void;
  /** What a service is now. */
  observe(family: IpFamily, serviceKey: string, state: ServiceState): void;
  /** Milliseconds since the epoch of the last successful sync and the last change; 0 for never. */
  readonly lastSyncMs: number;
  readonly lastPendingMs: number;
}

/** As many refused services as the metric names. */
const namedServices = 100;

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

/** Services that some traffic cannot reach because of a local policy, by the policy. */
function createNoLocalEndpoints(registry: Registry): (family: IpFamily, key: string, state: ServiceState) => void {
  const services = new Map<string, Set<string>>();
  const policies = ['internal', 'external'] as const;
  const gauge: Gauge = new Gauge({
    name: 'kubeproxy_sync_proxy_rules_no_local_endpoints_total',
    help: 'Number of services with a Local traffic policy and no endpoints',
    labelNames: ['traffic_policy', 'ip_family'],
    registers: [registry],
    collect: () => {
      for (const [id, keys] of services) {
        const [family = '', policy = ''] = id.split(' ');
        gauge.set({ traffic_policy: policy, ip_family: family }, keys.size);
      }
    },
  });
  return (family, key, state) => {
    for (const policy of policies) {
      const isStuck = [...state.values()].some(({ port, endpoints }) => {
        const isLocal = policy === 'internal' ? port.internalLocal : port.externalLocal;
        return isLocal && endpoints.any && endpoints.local.length === 0;
      });
      const id = `${family} ${policy}`;
      const keys = services.get(id) ?? new Set<string>();
      services.set(id, keys);
      if (isStuck) keys.add(key);
      else keys.delete(key);
    }
  };
}

/** Changes of objects: all that ever came, and those whose rules are not there yet. */
function createChangeCounters(registry: Registry): {
  arrived(family: IpFamily, changes: ObjectChanges): void;
  synced(family: IpFamily): void;
} {
  const of = (kind: 'endpoint' | 'service') => {
    const common = { labelNames: ['ip_family'] as const, registers: [registry] };
    const name = `kubeproxy_sync_proxy_rules_${kind}_changes`;
    return {
      total: new Counter({ ...common, name: `${name}_total`, help: `Cumulative proxy rules ${kind} changes` }),
      pending: new Gauge({ ...common, name: `${name}_pending`, help: `Pending proxy rules ${kind} changes` }),
    };
  };
  const endpoints = of('endpoint');
  const services = of('service');
  return {
    arrived: (family, changes) => {
      const labels = { ip_family: family };
      for (const [kind, count] of [
        [endpoints, changes.endpoints],
        [services, changes.services],
      ] as const) {
        kind.total.inc(labels, count);
        kind.pending.inc(labels, count);
      }
    },
    synced: (family) => {
      for (const kind of [endpoints, services]) kind.pending.set({ ip_family: family }, 0);
    },
  };
}

export function createSyncMetrics(registry: Registry, clock: Clock, mode: ModeName): SyncMetrics {
  const registers = [registry];
  const labelNames = ['ip_family'] as const;
  const histogram = (name: string, help: string, buckets: number[]) =>
    new Histogram({ name, help, labelNames, buckets, registers });
  const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames, registers });
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
  const appliedIn = new Histogram({
    name: 'berth_proxy_change_applied_duration_seconds',
    help: 'From the arrival of the first change of a sync to its rules in the kernel.',
    labelNames: ['mode', 'ip_family'],
    buckets: syncBuckets,
    registers,
  });
  const lastSync = gauge(
    'kubeproxy_sync_proxy_rules_last_timestamp_seconds',
    'The last time proxy rules were successfully synced',
  );
  const lastQueued = gauge(
    'kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds',
    'The last time a sync of proxy rules was queued',
  );
  const failures = new Counter({
    name:
      mode !== 'nftables'
        ? 'kubeproxy_sync_proxy_rules_iptables_restore_failures_total'
        : 'kubeproxy_sync_proxy_rules_nftables_sync_failures_total',
    help: `Cumulative proxy ${mode !== 'nftables' ? 'iptables restore' : 'nftables sync'} failures`,
    labelNames,
    registers,
  });
  const refusedServices = new Gauge({
    name: 'berth_proxy_refused_service',
    help: `1 for each service whose rules the kernel refuses; the first ${namedServices} are named.`,
    labelNames: ['namespace', 'service', 'ip_family'],
    registers,
  });
  const refusedCount = gauge('berth_proxy_refused_services', 'Services whose rules the kernel refuses.');
  const noLocalEndpoints = createNoLocalEndpoints(registry);
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
  const lastRules =
    mode !== 'iptables'
      ? undefined
      : new Gauge({
          name: 'kubeproxy_sync_proxy_rules_iptables_last',
          help: 'Number of iptables rules written by kube-proxy in last sync',
          labelNames: ['table', 'ip_family'],
          registers,
        });
  const changes = createChangeCounters(registry);
  const named: Record<IpFamily, readonly string[]> = { IPv4: [], IPv6: [] };
  let lastSyncMs = 0;
  let lastPendingMs = 0;
  const labelsOf = (family: IpFamily, key: string) => {
    const [namespace = '', service = ''] = key.split('/');
    return { namespace, service, ip_family: family };
  };
  return {
    synced: ({ durationMs, full: isFull, lines, rules: count, family }) => {
      lastSyncMs = clock.now();
      const labels = { ip_family: family };
      duration.observe(labels, durationMs / 1000);
      (isFull ? full : partial).observe(labels, durationMs / 1000);
      lastSync.set(labels, lastSyncMs / 1000);
      rules?.set({ table: 'nat', ip_family: family }, count);
      lastRules?.set({ table: 'nat', ip_family: family }, lines);
      changes.synced(family);
    },
    failed: (family) => failures.inc({ ip_family: family }),
    refused: (family, keys) => {
      if (keys.length === 0 && named[family].length === 0) return;
      for (const key of named[family]) refusedServices.remove(labelsOf(family, key));
      named[family] = keys.slice(0, namedServices);
      for (const key of named[family]) refusedServices.set(labelsOf(family, key), 1);
      refusedCount.set({ ip_family: family }, keys.length);
    },
    pending: (family, objects) => {
      if (objects !== undefined) changes.arrived(family, objects);
      lastPendingMs = clock.now();
      lastQueued.set({ ip_family: family }, lastPendingMs / 1000);
    },
    programmed: (family, latencyMs) => programming.observe({ ip_family: family }, latencyMs / 1000),
    applied: (family, latencyMs) => appliedIn.observe({ mode, ip_family: family }, latencyMs / 1000),
    observe: noLocalEndpoints,
    get lastSyncMs() {
      return lastSyncMs;
    },
    get lastPendingMs() {
      return lastPendingMs;
    },
  };
}
