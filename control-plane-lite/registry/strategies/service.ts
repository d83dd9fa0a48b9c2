// Services: address families, what an update keeps of the allocated values, and the allocation itself.
import { isDeepStrictEqual } from 'node:util';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { ServiceAllocator } from '../allocation/service-allocator.ts';
import { wantsHealthPort, wantsNodePorts } from '../allocation/service-allocator.ts';
import type { Strategy } from '../strategy.ts';

type ServiceObject = KubeObject & Service;
type ServiceSpec = NonNullable<Service['spec']>;

/** Single-stack IPv4, except for headless services without selector, which may describe both families. */
function fillFamilies(spec: ServiceSpec): void {
  if (spec.type === 'ExternalName') return;
  const isBare = spec.clusterIP === 'None' && Object.keys(spec.selector ?? {}).length === 0;
  if (isBare && spec.ipFamilyPolicy === undefined && (spec.ipFamilies ?? []).length === 0) {
    spec.ipFamilyPolicy = 'RequireDualStack';
  }
  spec.ipFamilyPolicy ??= 'SingleStack';
  if ((spec.ipFamilies ?? []).length === 0) spec.ipFamilies = ['IPv4'];
  if (isBare && spec.ipFamilyPolicy !== 'SingleStack' && spec.ipFamilies?.length === 1) {
    spec.ipFamilies = [...spec.ipFamilies, spec.ipFamilies[0] === 'IPv4' ? 'IPv6' : 'IPv4'];
  }
}

function normaliseAddresses(spec: ServiceSpec): void {
  if (spec.clusterIP === '') delete spec.clusterIP;
  if ((spec.clusterIPs ?? []).length === 0) delete spec.clusterIPs;
  if (spec.clusterIP !== undefined) spec.clusterIPs ??= [spec.clusterIP];
  else if (spec.clusterIPs?.[0] !== undefined) spec.clusterIP = spec.clusterIPs[0];
}

/** A client that only knows `clusterIP` changes `clusterIPs` with it. */
function followPrimaryAddress(spec: ServiceSpec, before: ServiceSpec): void {
  if (spec.clusterIP === before.clusterIP || !isDeepStrictEqual(spec.clusterIPs, before.clusterIPs)) return;
  if ((spec.clusterIP ?? '') === '') delete spec.clusterIPs;
  else spec.clusterIPs = [spec.clusterIP ?? '', ...(before.clusterIPs ?? []).slice(1)];
}

const needsClusterIp = (spec: ServiceSpec): boolean => spec.type !== 'ExternalName';

/** Values that the server chose stay when an update does not mention them. */
function keepAllocated(spec: ServiceSpec, before: ServiceSpec): void {
  if (needsClusterIp(spec) && needsClusterIp(before)) {
    if (spec.clusterIP === undefined && spec.clusterIPs === undefined) {
      if (before.clusterIP !== undefined) spec.clusterIP = before.clusterIP;
      if (before.clusterIPs !== undefined) spec.clusterIPs = [...before.clusterIPs];
    }
    if (spec.ipFamilyPolicy === undefined && before.ipFamilyPolicy !== undefined)
      spec.ipFamilyPolicy = before.ipFamilyPolicy;
    if ((spec.ipFamilies ?? []).length === 0 && before.ipFamilies !== undefined)
      spec.ipFamilies = [...before.ipFamilies];
  }
  if (wantsNodePorts(spec) && wantsNodePorts(before)) {
    for (const port of spec.ports ?? []) {
      if ((port.nodePort ?? 0) > 0) continue;
      const same = before.ports?.find((other) => other.port === port.port && other.protocol === port.protocol);
      if (same?.nodePort !== undefined) port.nodePort = same.nodePort;
    }
  }
  if (wantsHealthPort(spec) && before.healthCheckNodePort !== undefined) {
    spec.healthCheckNodePort ??= before.healthCheckNodePort;
  }
}

/** Fields that meant something for the former type only go with it, unless the update changes them. */
function dropTypeDependent(spec: ServiceSpec, before: ServiceSpec): void {
  if (needsClusterIp(before) && !needsClusterIp(spec)) {
    if (spec.clusterIP === before.clusterIP) {
      delete spec.clusterIP;
      delete spec.clusterIPs;
    }
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
  }
  if (wantsNodePorts(before) && !wantsNodePorts(spec)) {
    const old = new Set((before.ports ?? []).map(({ nodePort }) => nodePort));
    for (const port of spec.ports ?? []) if (old.has(port.nodePort)) delete port.nodePort;
  }
  if (!wantsHealthPort(spec) && spec.healthCheckNodePort === before.healthCheckNodePort)
    delete spec.healthCheckNodePort;
  if (spec.type !== 'LoadBalancer' && before.type === 'LoadBalancer') {
    if (spec.allocateLoadBalancerNodePorts === before.allocateLoadBalancerNodePorts) {
      delete spec.allocateLoadBalancerNodePorts;
    }
    if (spec.loadBalancerClass === before.loadBalancerClass) delete spec.loadBalancerClass;
  }
  const reachable = spec.type === 'NodePort' || spec.type === 'LoadBalancer' || (spec.externalIPs ?? []).length > 0;
  if (!reachable && spec.externalTrafficPolicy === before.externalTrafficPolicy) delete spec.externalTrafficPolicy;
}

export function serviceStrategy(allocator: ServiceAllocator): Strategy<ServiceObject> {
  return {
    allowCreateOnUpdate: true,
    prepareCreate: ({ spec }) => {
      if (spec === undefined) return;
      normaliseAddresses(spec);
      fillFamilies(spec);
    },
    prepareUpdate: (service, previous, _context, subresource) => {
      const { spec } = service;
      const before = previous.spec;
      if (spec === undefined || before === undefined || subresource !== '') return;
      followPrimaryAddress(spec, before);
      normaliseAddresses(spec);
      keepAllocated(spec, before);
      dropTypeDependent(spec, before);
      fillFamilies(spec);
      if (spec.type !== 'LoadBalancer') service.status = { ...service.status, loadBalancer: {} };
    },
    allocate: (service, previous) =>
      service.spec === undefined
        ? { errors: [], undo: () => undefined }
        : allocator.allocate(service.spec, previous?.spec),
  };
}
