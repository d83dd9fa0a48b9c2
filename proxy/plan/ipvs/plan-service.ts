// The virtual servers, set entries and addresses of one Service port. A virtual server has one list of endpoints: under
// a local policy the local ones, and those of the cluster where there is none here (who may use them is in a set).
import { isInRanges, networkOf } from '../../model/cidr.ts';
import { hostPort } from '../../model/endpoint.ts';
import type { SelectedEndpoints } from '../../model/select-endpoints.ts';
import type { ServicePort } from '../../model/service-port.ts';
import { type IpSetName, nodePortSets } from './ip-sets.ts';
import { type IpvsItem, type ServiceRules, serviceArgument } from './rules.ts';

export interface ServicePlanOptions {
  scheduler: string;
  /** Addresses of this node that take node ports. */
  nodePortAddresses: readonly string[];
  /** Addresses that other interfaces of this node have: they are not put on the dummy interface. */
  ownAddresses: ReadonlySet<string>;
  /** Addresses by which the cluster knows this node, to let it reach its own load balancer services. */
  nodeIPs: readonly string[];
}

/** Virtual servers of one port at one address. */
type Frontend = (address: string, port: number, local: boolean) => IpvsItem;

function planFrontend(
  { protocol, affinitySeconds }: ServicePort,
  { cluster, local: here }: SelectedEndpoints,
  scheduler: string,
): Frontend {
  const persistence = affinitySeconds === undefined ? '' : ` -p ${affinitySeconds}`;
  // Without the port in its hash this scheduler sends all connections of a client to one endpoint.
  const options = `-s ${scheduler}${persistence}${scheduler === 'mh' ? ' -b mh-port' : ''}`;
  const weights = (endpoints: SelectedEndpoints['cluster']) => new Map(endpoints.map(({ address }) => [address, 1]));
  const toAll = weights(cluster);
  const toLocal = here.length > 0 ? weights(here) : toAll;
  return (address, port, local) => {
    const service = serviceArgument(protocol, hostPort(address, port));
    return { kind: 'server', service, options, realServers: local ? toLocal : toAll };
  };
}

/** Sets cannot hold a range of everything: it is written as its halves. */
function planSourceRange(range: string): string[] {
  if (!range.endsWith('/0')) return [networkOf(range)];
  return range.includes(':') ? ['::/1', '8000::/1'] : ['0.0.0.0/1', '128.0.0.0/1'];
}

/** Plans one port. The rules depend on nothing but the arguments, so a port is planned again only when they changed. */
export function planService(
  port: ServicePort,
  endpoints: SelectedEndpoints,
  options: ServicePlanOptions,
): ServiceRules {
  const items: IpvsItem[] = [];
  const protocol = port.protocol.toLowerCase();
  const add = (set: IpSetName, entry: string): void => {
    items.push({ kind: 'entry', set, entry });
  };
  const bind = (address: string): void => {
    items.push({ kind: 'address', address });
    add('IPVS-IPS', address);
  };
  const frontend = planFrontend(port, endpoints, options.scheduler);
  const hasNoneHere = endpoints.any && endpoints.local.length === 0;
  const at = (address: string): string => `${address},${protocol}:${port.port}`;

  add('CLUSTER-IP', at(port.clusterIP));
  const internal = frontend(port.clusterIP, port.port, port.internalLocal);
  if (port.internalLocal && hasNoneHere) {
    add('NO-LOCAL-INTERNAL', at(port.clusterIP));
    if (internal.kind === 'server') internal.realServers = new Map();
  }
  items.push(internal);
  bind(port.clusterIP);

  const addExternal = (address: string): void => {
    items.push(frontend(address, port.port, port.externalLocal));
    if (port.externalLocal && hasNoneHere) add('NO-LOCAL-EXTERNAL', at(address));
    if (!options.ownAddresses.has(address)) bind(address);
  };
  const vips = new Set(port.loadBalancerVIPs);
  for (const address of port.externalIPs) {
    add(port.externalLocal ? 'EXTERNAL-IP-LOCAL' : 'EXTERNAL-IP', at(address));
    if (!vips.has(address)) addExternal(address);
  }
  for (const vip of vips) {
    add('LOAD-BALANCER', at(vip));
    if (port.externalLocal) add('LOAD-BALANCER-LOCAL', at(vip));
    if (port.sourceRanges.length > 0) {
      add('LOAD-BALANCER-FW', at(vip));
      for (const range of port.sourceRanges) {
        for (const net of planSourceRange(range)) add('LOAD-BALANCER-SOURCE-CIDR', `${at(vip)},${net}`);
      }
      // What the node itself sends to the address comes from it, too.
      const fromNode = options.nodeIPs.some((ip) => isInRanges(ip, port.sourceRanges));
      if (fromNode) add('LOAD-BALANCER-SOURCE-IP', `${at(vip)},${vip}`);
    }
    addExternal(vip);
  }
  if (port.nodePort !== 0) {
    const [all, local] = nodePortSets(port.protocol);
    const sets = port.externalLocal ? [all, local] : [all];
    for (const address of options.nodePortAddresses) {
      const entry = `${address},${protocol}:${port.nodePort}`;
      items.push(frontend(address, port.nodePort, port.externalLocal));
      if (port.externalLocal && hasNoneHere) add('NO-LOCAL-EXTERNAL', entry);
      if (port.protocol === 'SCTP') for (const set of sets) add(set, entry);
    }
    if (port.protocol !== 'SCTP') for (const set of sets) add(set, `${port.nodePort}`);
  }
  if (port.healthCheckNodePort !== 0) add('HEALTH-CHECK-NODE-PORT', `${port.healthCheckNodePort}`);
  // A pod that reaches itself through its Service must see another source address than its own.
  for (const endpoint of endpoints.reachable) {
    if (endpoint.isLocal) add('LOOP-BACK', `${endpoint.ip},${protocol}:${endpoint.port},${endpoint.ip}`);
  }
  return { owner: `${port.name}/${port.protocol}`, items };
}
