// The Endpoints object of a service, the older form of EndpointSlices: one list of addresses per set of ports. Pure.
// Behaviour: upstream's pkg/controller/endpoint.
import type { EndpointAddress, EndpointSubset, Pod, Service } from '#kube/api/generated/core-v1.ts';
import { isPodReady, isPodTerminating } from '#kube/api/pod-state.ts';
import { endpointHostname, endpointPorts, hasEndpoint, portsKey } from '../endpoint-slice/service-ports.ts';

/** More addresses than this are cut off and the object is marked so. */
export const maxAddresses = 1000;

function addressOf(service: Service, pod: Pod): EndpointAddress | undefined {
  const wantsIPv6 = (service.spec?.ipFamilies?.[0] ?? 'IPv4') === 'IPv6';
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? [pod.status?.podIP ?? ''];
  const ip = addresses.find((candidate) => candidate !== '' && candidate.includes(':') === wantsIPv6);
  if (ip === undefined) return undefined;
  const { namespace, name, uid } = pod.metadata;
  const hostname = endpointHostname(service, pod);
  const nodeName = pod.spec?.nodeName;
  return {
    ip,
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName }),
    targetRef: { kind: 'Pod', namespace, name, uid },
  };
}

/** Pods with equal ports share a subset; addresses are sorted, ready ones apart from the others. */
export function computeSubsets(
  service: Service,
  pods: readonly Pod[],
): { subsets: EndpointSubset[]; truncated: boolean } {
  const tolerant = service.spec?.publishNotReadyAddresses === true;
  const groups = new Map<
    string,
    { ports: EndpointSubset['ports']; ready: EndpointAddress[]; notReady: EndpointAddress[] }
  >();
  let count = 0;
  let truncated = false;
  const sorted = [...pods].sort((a, b) => Number(isPodReady(b)) - Number(isPodReady(a)));
  for (const pod of sorted) {
    const address = addressOf(service, pod);
    if (address === undefined || !hasEndpoint(pod) || (isPodTerminating(pod) && !tolerant)) continue;
    const ports = endpointPorts(service, pod).map(({ name, port = 0, ...rest }) => ({
      port,
      ...rest,
      ...(name === '' || name === undefined ? {} : { name }),
    }));
    if (ports.length === 0 && (service.spec?.ports ?? []).length > 0) continue;
    if (count >= maxAddresses) {
      truncated = true;
      break;
    }
    count += 1;
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports: ports.length === 0 ? undefined : ports, ready: [], notReady: [] };
    groups.set(key, group);
    (tolerant || isPodReady(pod) ? group.ready : group.notReady).push(address);
  }
  const byIp = (a: EndpointAddress, b: EndpointAddress) => (a.ip < b.ip ? -1 : 1);
  const subsets = [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([, { ports, ready, notReady }]): EndpointSubset => ({
        ...(ready.length === 0 ? {} : { addresses: ready.sort(byIp) }),
        ...(notReady.length === 0 ? {} : { notReadyAddresses: notReady.sort(byIp) }),
        ...(ports === undefined ? {} : { ports }),
      }),
    );
  return { subsets, truncated };
}
