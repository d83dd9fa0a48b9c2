// Which endpoints traffic of a Service port may go to, by traffic policy, topology and termination
// (kube-proxy's rules; KEP-1669 for terminating endpoints, KEP-2433 and KEP-3015 for topology).
import type { Endpoint } from './endpoint.ts';
import { type ServicePort, usesClusterEndpoints, usesLocalEndpoints } from './service-port.ts';

/** Where this node is, for topology hints. */
export interface NodeTopology {
  nodeName: string;
  zone: string | undefined;
}

export interface SelectedEndpoints {
  /** For the cluster traffic policy. */
  cluster: Endpoint[];
  /** For the local traffic policy. */
  local: Endpoint[];
  /** Every endpoint that some traffic of this node may reach. */
  reachable: Endpoint[];
  /** Addresses of UDP endpoints that answer, draining ones too, wherever they are: flows to them are not stale. */
  serving: readonly string[];
  /** False when the Service has no usable endpoint on any node: traffic is rejected rather than dropped. */
  any: boolean;
}

type Topology = 'none' | 'zone' | 'node';

/** Hints count only when every ready endpoint has them and one is for this place. */
function topologyOf(endpoints: readonly Endpoint[], { nodeName, zone }: NodeTopology): Topology {
  const ready = endpoints.filter((endpoint) => endpoint.ready);
  if (ready.length === 0) return 'none';
  const allForNodes = ready.every((endpoint) => endpoint.nodeHints.length > 0);
  if (allForNodes && ready.some((endpoint) => endpoint.nodeHints.includes(nodeName))) return 'node';
  const allForZones = ready.every((endpoint) => endpoint.zoneHints.length > 0);
  if (!allForZones || zone === undefined) return 'none';
  return ready.some((endpoint) => endpoint.zoneHints.includes(zone)) ? 'zone' : 'none';
}

function isHere(endpoint: Endpoint, topology: Topology, { nodeName, zone = '' }: NodeTopology): boolean {
  if (topology === 'none') return true;
  return topology === 'node' ? endpoint.nodeHints.includes(nodeName) : endpoint.zoneHints.includes(zone);
}

const isDraining = (endpoint: Endpoint): boolean => endpoint.serving && endpoint.terminating;

function selectCluster(endpoints: readonly Endpoint[], node: NodeTopology): Endpoint[] {
  const topology = topologyOf(endpoints, node);
  const ready = endpoints.filter((endpoint) => endpoint.ready && isHere(endpoint, topology, node));
  return ready.length > 0 ? ready : endpoints.filter(isDraining);
}

function selectLocal(endpoints: readonly Endpoint[]): Endpoint[] {
  const local = endpoints.filter((endpoint) => endpoint.isLocal);
  const ready = local.filter((endpoint) => endpoint.ready);
  return ready.length > 0 ? ready : local.filter(isDraining);
}

/** Selects for both policies at once; lists that the port's policies do not need stay empty. */
export function selectEndpoints(
  port: ServicePort,
  endpoints: readonly Endpoint[],
  node: NodeTopology,
): SelectedEndpoints {
  const cluster = usesClusterEndpoints(port) ? selectCluster(endpoints, node) : [];
  const serving = port.protocol === 'UDP' ? endpoints.filter((each) => each.serving).map(({ ip }) => ip) : [];
  if (!usesLocalEndpoints(port)) return { cluster, local: [], reachable: cluster, serving, any: cluster.length > 0 };
  const local = selectLocal(endpoints);
  const seen = new Set(cluster);
  const reachable = [...cluster, ...local.filter((endpoint) => !seen.has(endpoint))];
  const any = cluster.length > 0 || endpoints.some((endpoint) => endpoint.ready || isDraining(endpoint));
  return { cluster, local, reachable, serving, any };
}
