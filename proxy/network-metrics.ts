// Metrics of the pod network and of policies: of berth alone, and only where the proxy does that work.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

export interface PodNetworkMetrics {
  /** The network is what it should be, with so many routes to other nodes. */
  synced(routes: number): void;
  failed(): void;
}

export interface PolicyMetrics {
  /** A change is in the kernel. */
  applied(durationMs: number): void;
  /** The cluster has so many policies. */
  counted(policies: number): void;
  failed(): void;
}

export function createPodNetworkMetrics(registry: Registry): PodNetworkMetrics {
  const registers = [registry];
  const routes = new Gauge({
    name: 'berth_proxy_pod_network_routes',
    help: 'Routes to the pods of other nodes',
    registers,
  });
  const failures = new Counter({
    name: 'berth_proxy_pod_network_failures_total',
    help: 'How often the network of pods could not be made what it should be',
    registers,
  });
  return { synced: (count) => routes.set(count), failed: () => failures.inc() };
}

export function createPolicyMetrics(registry: Registry): PolicyMetrics {
  const registers = [registry];
  const durations = new Histogram({
    name: 'berth_proxy_network_policy_apply_duration_seconds',
    help: 'Duration of applying changes of network policies, and of what they select',
    buckets: Array.from({ length: 12 }, (_, i) => 0.001 * 2 ** i),
    registers,
  });
  const policies = new Gauge({
    name: 'berth_proxy_network_policies',
    help: 'Network policies of the cluster that this node has heard of',
    registers,
  });
  const failures = new Counter({
    name: 'berth_proxy_network_policy_failures_total',
    help: 'How often the kernel refused rules of network policies',
    registers,
  });
  return {
    applied: (durationMs) => durations.observe(durationMs / 1000),
    counted: (count) => policies.set(count),
    failed: () => failures.inc(),
  };
}
