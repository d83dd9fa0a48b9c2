// Services: what an update keeps of the allocated values, and the allocation itself.
import { isDeepStrictEqual } from 'node:util';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { invalidObject } from '#kube/errors/field-error.ts';
import type { ServiceAllocator } from '../allocation/service-allocator.ts';
import { wantsHealthPort, wantsNodePorts } from '../allocation/service-allocator.ts';
import { type ClusterFamilies, fillFamilies } from '../allocation/service-families.ts';
import type { Strategy } from '../strategy.ts';

type ServiceObject = KubeObject & Service;
type ServiceSpec = NonNullable<Service['spec']>;

/** Throws StatusError for families that the cluster has not, or that do not fit the addresses. */
function settleFamilies({ metadata, spec }: ServiceObject, before: ServiceSpec | undefined, of: ClusterFamilies): void {
  if (spec === undefined) return;
  const errors = fillFamilies(spec, before, of);
  if (errors.length > 0) throw invalidObject('Service', '', metadata.name, errors);
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
    prepareCreate: (service) => {
      if (service.spec === undefined) return;
      normaliseAddresses(service.spec);
      settleFamilies(service, undefined, allocator.families);
    },
    prepareUpdate: (service, previous, _context, subresource) => {
      const { spec } = service;
      const before = previous.spec;
      if (spec === undefined || before === undefined || subresource !== '') return;
      followPrimaryAddress(spec, before);
      normaliseAddresses(spec);
      keepAllocated(spec, before);
      dropTypeDependent(spec, before);
      settleFamilies(service, before, allocator.families);
      if (spec.type !== 'LoadBalancer') service.status = { ...service.status, loadBalancer: {} };
    },
    *allocate({ metadata, spec }, previous, { dryRun }) {
      if (spec === undefined) return { errors: [], undo: () => undefined };
      const owner = { namespace: metadata.namespace ?? '', name: metadata.name, uid: metadata.uid ?? '' };
      return yield* allocator.allocate(spec, previous?.spec, owner, { dryRun });
    },
  };
}
