// Flags of the controllers: under kube-controller-manager's names, and those of the address pool.
import { type FlagDefinition, type FlagValue, UsageError } from '#kube/process/flags.ts';
import { type AddressRange, parseAddressRanges } from './service-load-balancer/address-ranges.ts';

export interface ControllersConfig {
  autoscalerPeriodMs: number;
  /** How often agents are asked for what pods and nodes use. */
  metricResolutionMs: number;
  /** Addresses for services of type LoadBalancer; empty: somebody else's business. */
  loadBalancerPool: readonly AddressRange[];
  /** Prefix lengths of the nodes' pod ranges, by family. */
  nodePrefix: { ipv4: number; ipv6: number };
}

export const controllersFlags: readonly FlagDefinition[] = [
  {
    name: 'horizontal-pod-autoscaler-sync-period',
    type: 'duration',
    description: 'how often autoscalers look at their metrics',
  },
  { name: 'metric-resolution', type: 'duration', description: 'how often agents are asked what pods and nodes use' },
  {
    name: 'load-balancer-pool',
    type: 'list',
    description: 'addresses for services of type LoadBalancer: FIRST-LAST or networks, of either family',
  },
  { name: 'node-cidr-mask-size', type: 'int', description: "prefix length of the nodes' pod ranges, of IPv4" },
  { name: 'node-cidr-mask-size-ipv4', type: 'int', description: 'the same' },
  { name: 'node-cidr-mask-size-ipv6', type: 'int', description: "prefix length of the nodes' pod ranges of IPv6" },
];

function prefixLength(name: string, value: FlagValue | undefined, otherwise: number, most: number): number {
  const length = Number(value ?? otherwise);
  if (length < 8 || length > most) throw new UsageError(`--${name} takes a prefix length up to ${most}, not ${length}`);
  return length;
}

/** Throws UsageError. */
export function parseControllersConfig(values: Record<string, FlagValue>): ControllersConfig {
  const pool = values['load-balancer-pool'];
  const autoscalerPeriodMs = Number(values['horizontal-pod-autoscaler-sync-period'] ?? 15_000);
  if (autoscalerPeriodMs < 100) throw new UsageError('--horizontal-pod-autoscaler-sync-period is at least 100ms');
  const metricResolutionMs = Number(values['metric-resolution'] ?? 15_000);
  if (metricResolutionMs < 1000) throw new UsageError('--metric-resolution is at least 1s');
  const ipv4 = values['node-cidr-mask-size-ipv4'] ?? values['node-cidr-mask-size'];
  return {
    autoscalerPeriodMs,
    metricResolutionMs,
    loadBalancerPool: parseAddressRanges(Array.isArray(pool) ? pool : []),
    nodePrefix: {
      ipv4: prefixLength('node-cidr-mask-size-ipv4', ipv4, 24, 30),
      ipv6: prefixLength('node-cidr-mask-size-ipv6', values['node-cidr-mask-size-ipv6'], 64, 126),
    },
  };
}
