// The EndpointSlices that mirror a hand-made Endpoints object of a service without selector. Pure.
// Behaviour: upstream's pkg/controller/endpointslicemirroring.
import type { EndpointAddress, EndpointSubset, Endpoints } from '#kube/api/generated/core-v1.ts';
import type { Endpoint, EndpointPort, EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { endpoints as endpointsResource } from '#kube/api/generated/resources.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import type { Draft } from '#kube/api/resource.ts';
import { portsKey } from '../endpoint-slice/service-ports.ts';
import { sameJson } from '../same-json.ts';

/** Marks the slices that are mirrors. */
export const mirroringManagedBy = 'endpointslicemirroring-controller.k8s.io';
const managedByLabel = 'endpointslice.kubernetes.io/managed-by';
const serviceNameLabel = 'kubernetes.io/service-name';
const lastAppliedAnnotation = 'kubectl.kubernetes.io/last-applied-configuration';
/** Addresses of a subset beyond this are left out, as upstream does. */
const maxAddressesPerSubset = 1000;

export interface MirrorPlan {
  create: Draft<EndpointSlice>[];
  update: EndpointSlice[];
  delete: EndpointSlice[];
}

/** Whether an Endpoints object is to be mirrored: written by hand, not marked as an exception or a leader's lock. */
export function isMirrored({ metadata }: Endpoints): boolean {
  const labels = metadata.labels ?? {};
  return (
    labels['endpointslice.kubernetes.io/skip-mirror'] !== 'true' &&
    labels['endpoints.kubernetes.io/managed-by'] === undefined &&
    metadata.annotations?.['control-plane.alpha.kubernetes.io/leader'] === undefined
  );
}

function endpointOf(address: EndpointAddress, ready: boolean): Endpoint {
  const { ip, hostname, nodeName, targetRef } = address;
  return {
    addresses: [ip],
    conditions: { ready },
    ...(hostname === undefined || hostname === '' ? {} : { hostname }),
    ...(nodeName === undefined ? {} : { nodeName }),
    ...(targetRef === undefined ? {} : { targetRef }),
  };
}

function portsOf({ ports }: EndpointSubset): EndpointPort[] {
  return (ports ?? []).map(({ name = '', port, protocol = 'TCP', appProtocol }) => ({
    name,
    port,
    protocol,
    ...(appProtocol === undefined ? {} : { appProtocol }),
  }));
}

interface Wanted {
  addressType: 'IPv4' | 'IPv6';
  ports: EndpointPort[];
  endpoints: Endpoint[];
}

function wantedSlices(object: Endpoints): Map<string, Wanted> {
  const wanted = new Map<string, Wanted>();
  for (const subset of object.subsets ?? []) {
    const ports = portsOf(subset);
    const all = [
      ...(subset.addresses ?? []).map((address) => endpointOf(address, true)),
      ...(subset.notReadyAddresses ?? []).map((address) => endpointOf(address, false)),
    ].slice(0, maxAddressesPerSubset);
    for (const endpoint of all) {
      const addressType = endpoint.addresses[0]?.includes(':') === true ? 'IPv6' : 'IPv4';
      const key = `${addressType} ${portsKey(ports)}`;
      const slice = wanted.get(key) ?? { addressType, ports, endpoints: [] };
      slice.endpoints.push(endpoint);
      wanted.set(key, slice);
    }
  }
  return wanted;
}

/** Compares the mirror there is with the one there should be: one slice for each family and set of ports. */
export function computeMirror(object: Endpoints, existing: readonly EndpointSlice[]): MirrorPlan {
  const { name, namespace, labels, annotations } = object.metadata;
  const { [lastAppliedAnnotation]: _, ...copied } = annotations ?? {};
  const metadata = {
    labels: { ...labels, [serviceNameLabel]: name, [managedByLabel]: mirroringManagedBy },
    ...(Object.keys(copied).length === 0 ? {} : { annotations: copied }),
  };
  const wanted = wantedSlices(object);
  const plan: MirrorPlan = { create: [], update: [], delete: [] };
  for (const slice of existing) {
    const key = `${slice.addressType} ${portsKey(slice.ports ?? [])}`;
    const match = wanted.get(key);
    if (match === undefined) {
      plan.delete.push(slice);
      continue;
    }
    wanted.delete(key);
    const next = { ...slice, metadata: { ...slice.metadata, ...metadata }, endpoints: match.endpoints };
    if (!sameJson(next, slice)) plan.update.push(next);
  }
  for (const { addressType, ports, endpoints } of wanted.values()) {
    const ownerReferences = [controllerReference(endpointsResource, object)];
    plan.create.push({
      metadata: { generateName: `${name}-`, namespace, ...metadata, ownerReferences },
      addressType,
      ports,
      endpoints,
    });
  }
  return plan;
}
