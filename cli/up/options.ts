// What `berth up` was asked for, and where that cluster lives.
import { hostname } from 'node:os';
import { type ClusterLayout, computeLayout } from './layout.ts';

export interface UpOptions {
  instance: string;
  nodes: number;
  apiPort: number;
  store: string | undefined;
  detach: boolean;
  demo: boolean;
}

/** The layout of the cluster on this machine. */
export function layoutFor(options: Pick<UpOptions, 'instance' | 'nodes'>): ClusterLayout {
  return computeLayout({
    instance: options.instance,
    hostname: hostname().trim().toLowerCase(),
    nodeCount: options.nodes,
  });
}
