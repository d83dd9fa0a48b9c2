// Services for tests with real packets, as objects of the API, and what a proxy on the node `here` makes of them.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import type { ServiceState } from '../../proxy/apply/rule-applier.ts';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import { computeServiceState } from '../../proxy/model/service-state.ts';
import { addressOf, gatewayOf, type PodName, podPort } from './packet-node.ts';

/** The ways in to a service. */
export const doors = ['cluster IP', 'node port', 'external IP', 'load balancer'] as const;
export type Door = (typeof doors)[number];

const nodePort = 30080;
const servicePort = 80;

/** The address and port of a door of the service with this number. */
export function doorAddress(door: Door, family: IpFamily, index = 1): { host: string; port: number } {
  const v6 = family === 'IPv6';
  switch (door) {
    case 'cluster IP':
      return { host: v6 ? `fd00:96::1:${index}` : `10.96.1.${index}`, port: servicePort };
    case 'node port':
      return { host: gatewayOf('client', family), port: nodePort + index - 1 };
    case 'external IP':
      return { host: v6 ? `fd00:18::2:${index}` : `198.18.2.${index}`, port: servicePort };
    case 'load balancer':
      return { host: v6 ? `fd00:18::1:${index}` : `198.18.1.${index}`, port: servicePort };
    default:
      return door satisfies never;
  }
}

/** How an endpoint is. */
export interface PodState {
  on: 'here' | 'elsewhere';
  ready?: boolean;
  terminating?: boolean;
  serving?: boolean;
}

export type PodStates = Partial<Record<PodName, PodState>>;

/** A service with every door. */
export function packetService(family: IpFamily, spec: Partial<Service['spec']> = {}, index = 1): Service {
  const { host: ip } = doorAddress('load balancer', family, index);
  const clusterIP = doorAddress('cluster IP', family, index).host;
  const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    port: servicePort,
    nodePort: doorAddress('node port', family, index).port,
    protocol,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `web-${index}`, namespace: 'demo' },
    spec: {
      type: 'LoadBalancer',
      clusterIP,
      externalIPs: [doorAddress('external IP', family, index).host],
      ports,
      ...spec,
    },
    status: { loadBalancer: { ingress: [{ ip }] } },
  };
}

export function packetSlice(family: IpFamily, pods: PodStates, index = 1): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `web-${index}-1`, namespace: 'demo' },
    addressType: family,
    ports: (['TCP', 'UDP'] as const).map((protocol) => ({ name: protocol.toLowerCase(), port: podPort, protocol })),
    endpoints: (Object.entries(pods) as [PodName, PodState][]).map(([pod, { on, ...conditions }]) => ({
      addresses: [addressOf(pod, family)],
      nodeName: on,
      conditions: { ready: conditions.terminating !== true, ...conditions },
    })),
  };
}

/** The state of one service by its key, as `PacketNode.apply` takes it. */
export function packetState(
  family: IpFamily,
  spec: Partial<Service['spec']>,
  pods: PodStates,
  index = 1,
): [string, ServiceState] {
  const service = packetService(family, spec, index);
  const node = { nodeName: 'here', zone: undefined };
  return [`demo/web-${index}`, computeServiceState(service, [packetSlice(family, pods, index)], family, node)];
}
