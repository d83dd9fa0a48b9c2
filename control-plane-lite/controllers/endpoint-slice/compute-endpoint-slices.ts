// The EndpointSlices of a service: which to create, update and delete so that they say what the pods are now.
// Endpoints stay in the slice they are in; new ones fill slices that change anyway. Pure.
// Behaviour: upstream's k8s.io/endpointslice.
import type { Node, Pod, Service } from '#kube/api/generated/core-v1.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { services } from '#kube/api/generated/resources.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import { isPodReady, isPodTerminating } from '#kube/api/pod-state.ts';
import type { Draft } from '#kube/api/resource.ts';
import { sameJson } from '../same-json.ts';
import { endpointHostname, endpointPorts, hasEndpoint, isHeadless, portsKey } from './service-ports.ts';

/** Who keeps a slice up to date. */
export const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
/** The value for slices made from a selector. */
export const managedBy = 'endpointslice-controller.k8s.io';
const serviceNameLabel = 'kubernetes.io/service-name';
const headlessLabel = 'service.kubernetes.io/headless';
const zoneLabel = 'topology.kubernetes.io/zone';
const maxEndpointsPerSlice = 100;

export interface SlicePlan {
  create: Draft<EndpointSlice>[];
  update: EndpointSlice[];
  delete: EndpointSlice[];
}

type AddressType = 'IPv4' | 'IPv6';

function podAddress(pod: Pod, type: AddressType): string | undefined {
  const addresses = pod.status?.podIPs?.map(({ ip }) => ip) ?? [pod.status?.podIP ?? ''];
  return addresses.find((ip) => ip !== '' && ip.includes(':') === (type === 'IPv6'));
}

function addressTypes(service: Service): AddressType[] {
  const families = service.spec?.ipFamilies ?? [];
  if (families.length > 0)
    return families.flatMap((family) => (family === 'IPv4' || family === 'IPv6' ? [family] : []));
  return [service.spec?.clusterIP?.includes(':') === true ? 'IPv6' : 'IPv4'];
}

function hintsFor(service: Service, endpoint: Endpoint): Endpoint['hints'] {
  const { trafficDistribution } = service.spec ?? {};
  const forZones = endpoint.zone === undefined ? undefined : [{ name: endpoint.zone }];
  const forNodes = endpoint.nodeName === undefined ? undefined : [{ name: endpoint.nodeName }];
  switch (trafficDistribution) {
    case 'PreferClose':
    case 'PreferSameZone':
      return forZones === undefined ? undefined : { forZones };
    case 'PreferSameNode':
      return forNodes === undefined ? undefined : { ...(forZones === undefined ? {} : { forZones }), forNodes };
    default:
      return undefined;
  }
}

function endpointOf(service: Service, pod: Pod, address: string, node: Node | undefined): Endpoint {
  const serving = isPodReady(pod);
  const terminating = isPodTerminating(pod);
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const { namespace, name, uid } = pod.metadata;
  const hostname = endpointHostname(service, pod);
  const nodeName = pod.spec?.nodeName;
  const zone = node?.metadata.labels?.[zoneLabel];
  const endpoint: Endpoint = {
    addresses: [address],
    conditions: { ready, serving, terminating },
    targetRef: { kind: 'Pod', namespace, name, uid },
    ...(hostname === undefined ? {} : { hostname }),
    ...(nodeName === undefined || nodeName === '' ? {} : { nodeName }),
    ...(zone === undefined ? {} : { zone }),
  };
  const hints = ready ? hintsFor(service, endpoint) : undefined;
  return hints === undefined ? endpoint : { ...endpoint, hints };
}

interface Group {
  ports: EndpointPort[];
  /** By address: what must be there. */
  endpoints: Map<string, Endpoint>;
}

function groupEndpoints(
  service: Service,
  pods: readonly Pod[],
  nodeOf: (name: string) => Node | undefined,
  type: AddressType,
): Map<string, Group> {
  const groups = new Map<string, Group>();
  for (const pod of pods) {
    const address = podAddress(pod, type);
    if (address === undefined || !hasEndpoint(pod)) continue;
    const ports = endpointPorts(service, pod);
    const key = portsKey(ports);
    const group = groups.get(key) ?? { ports, endpoints: new Map<string, Endpoint>() };
    groups.set(key, group);
    const identity = pod.metadata.uid ?? address;
    group.endpoints.set(identity, endpointOf(service, pod, address, nodeOf(pod.spec?.nodeName ?? '')));
  }
  // A service without endpoints keeps one empty slice, which tells it from one that was not looked at yet.
  if (groups.size === 0) groups.set(portsKey([]), { ports: [], endpoints: new Map() });
  return groups;
}

function labelsOf(service: Service): Record<string, string> {
  const own = Object.entries(service.metadata.labels ?? {}).filter(([name]) => name !== headlessLabel);
  return {
    ...Object.fromEntries(own),
    [serviceNameLabel]: service.metadata.name,
    [managedByLabel]: managedBy,
    ...(isHeadless(service) ? { [headlessLabel]: '' } : {}),
  };
}

function identityOf(endpoint: Endpoint): string {
  return endpoint.targetRef?.uid ?? endpoint.addresses[0] ?? '';
}

/** Existing slices of one group with their new endpoints, and the endpoints that found no place. */
function placeInExisting(group: Group, slices: readonly EndpointSlice[]) {
  const left = new Map(group.endpoints);
  const placed = slices.map((slice) => {
    const kept: Endpoint[] = [];
    for (const endpoint of slice.endpoints ?? []) {
      const wanted = left.get(identityOf(endpoint));
      if (wanted === undefined) continue;
      kept.push(wanted);
      left.delete(identityOf(endpoint));
    }
    return { slice, endpoints: kept, changed: !sameJson(kept, slice.endpoints ?? []) };
  });
  const roomiest = [...placed].sort(
    (a, b) => Number(b.changed) - Number(a.changed) || b.endpoints.length - a.endpoints.length,
  );
  for (const entry of roomiest) {
    for (const [identity, endpoint] of left) {
      if (entry.endpoints.length >= maxEndpointsPerSlice) break;
      entry.endpoints.push(endpoint);
      entry.changed = true;
      left.delete(identity);
    }
  }
  return { placed, left: [...left.values()] };
}

/**
 * Compares the slices there are with the ones there should be. `existing` are the service's slices managed by this
 * controller; `pods` those its selector matches.
 */
export function computeEndpointSlices(
  service: Service,
  pods: readonly Pod[],
  nodeOf: (name: string) => Node | undefined,
  existing: readonly EndpointSlice[],
): SlicePlan {
  const plan: SlicePlan = { create: [], update: [], delete: [] };
  const labels = labelsOf(service);
  const types = addressTypes(service);
  plan.delete.push(...existing.filter(({ addressType }) => !types.some((type) => type === addressType)));
  for (const addressType of types) {
    const groups = groupEndpoints(service, pods, nodeOf, addressType);
    const ofType = existing.filter((slice) => slice.addressType === addressType);
    plan.delete.push(...ofType.filter((slice) => !groups.has(portsKey(slice.ports ?? []))));
    for (const [key, group] of groups) {
      const own = ofType.filter((slice) => portsKey(slice.ports ?? []) === key);
      const { placed, left } = placeInExisting(group, own);
      let full = left.length > 0 || placed.some(({ endpoints }) => endpoints.length > 0);
      for (const { slice, endpoints, changed } of placed) {
        if (endpoints.length === 0 && full) {
          plan.delete.push(slice);
          continue;
        }
        full = true;
        const sameLabels = sameJson(slice.metadata.labels ?? {}, labels);
        if (!changed && sameLabels) continue;
        plan.update.push({ ...slice, metadata: { ...slice.metadata, labels }, endpoints });
      }
      const chunks = Math.max(Math.ceil(left.length / maxEndpointsPerSlice), own.length === 0 ? 1 : 0);
      for (let chunk = 0; chunk < chunks; chunk += 1) {
        plan.create.push({
          metadata: {
            generateName: `${service.metadata.name}-`,
            namespace: service.metadata.namespace,
            labels,
            ownerReferences: [controllerReference(services, service)],
          },
          addressType,
          endpoints: left.slice(chunk * maxEndpointsPerSlice, (chunk + 1) * maxEndpointsPerSlice),
          ports: group.ports,
        });
      }
    }
  }
  return plan;
}
