// What `berth up` was asked for, and where that cluster lives.
import { hostname } from 'node:os';
import { type ClusterLayout, computeLayout } from './layout.ts';

export interface UpOptions {
  instance: string;
  nodes: number;
  apiPort: number;
  store: string | undefined;
  loadBalancerPool?: string | undefined;
  /** KubeSchedulerConfiguration. */
  schedulerConfig?: string | undefined;
  detach: boolean;
  demo: boolean;
  /** Ranges, one or one of each family after a comma. */
  podCidr?: string;
  serviceCidr?: string;
}

/** The layout of the cluster on this machine. */
export function layoutFor(options: Pick<UpOptions, 'instance' | 'nodes' | 'podCidr' | 'serviceCidr'>): ClusterLayout {
  return computeLayout({
    instance: options.instance,
    hostname: hostname().trim().toLowerCase(),
    nodeCount: options.nodes,
    ...(options.podCidr === undefined ? {} : { podCidrs: options.podCidr.split(',') }),
    ...(options.serviceCidr === undefined ? {} : { serviceCidrs: options.serviceCidr.split(',') }),
  });
}
