// Gives services their cluster IPs and node ports. What is taken follows the stored services: an address is free
// again when the service that had it is durably gone.
import type { Service } from '#kube/api/generated/core-v1.ts';
import { type FieldError, invalidField } from '#kube/errors/field-error.ts';
import { failure } from '#kube/errors/status-error.ts';
import type { Undo } from '../strategy.ts';
import type { AddressPool } from './address-pool.ts';
import type { PortPool } from './port-pool.ts';

type ServiceSpec = NonNullable<Service['spec']>;

/** Addresses of a service that come from the pool. */
export function addressesOf(spec: ServiceSpec): string[] {
  const { clusterIP = '', clusterIPs = [] } = spec;
  const all = clusterIPs.length > 0 ? clusterIPs : [clusterIP];
  return all.filter((address) => address !== '' && address !== 'None');
}

/** Node ports of a service, each once. */
export function nodePortsOf(spec: ServiceSpec): number[] {
  const ports = (spec.ports ?? []).map(({ nodePort = 0 }) => nodePort);
  return [...new Set([...ports, spec.healthCheckNodePort ?? 0])].filter((port) => port > 0);
}

export const wantsNodePorts = (spec: ServiceSpec): boolean =>
  spec.type === 'NodePort' || (spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false);

export const wantsHealthPort = (spec: ServiceSpec): boolean =>
  spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';

export interface ServiceAllocator {
  /** Takes what `spec` needs beyond what `previous` has, and writes it into `spec`. */
  allocate(spec: ServiceSpec, previous: ServiceSpec | undefined): { errors: FieldError[]; undo: Undo };
  /** Follows the store: `before` is replaced by `after`; either may be absent. */
  observe(before: ServiceSpec | undefined, after: ServiceSpec | undefined): void;
}

export function createServiceAllocator(addresses: AddressPool, ports: PortPool): ServiceAllocator {
  const takeAddresses = (spec: ServiceSpec, had: Set<string>, undos: Undo[]): FieldError[] => {
    const errors: FieldError[] = [];
    if (spec.type === 'ExternalName' || spec.clusterIP === 'None') return errors;
    if (addressesOf(spec).length === 0) {
      const address = addresses.takeAny();
      if (address === undefined)
        throw failure(500, 'InternalError', 'Internal error occurred: failed to allocate a serviceIP: range is full');
      undos.push(() => addresses.release(address));
      spec.clusterIP = address;
      spec.clusterIPs = [address];
      return errors;
    }
    for (const address of addressesOf(spec)) {
      if (had.has(address)) continue;
      const refusal = addresses.take(address);
      if (refusal === undefined) {
        undos.push(() => addresses.release(address));
        continue;
      }
      const why =
        refusal === 'taken'
          ? 'provided IP is already allocated'
          : 'the provided network does not match the current range';
      errors.push(invalidField('spec.clusterIPs', addressesOf(spec), `failed to allocate IP ${address}: ${why}`));
    }
    return errors;
  };

  const takePort = (port: number, field: string, undos: Undo[]): FieldError | undefined => {
    const refusal = ports.take(port);
    if (refusal === undefined) {
      undos.push(() => ports.release(port));
      return undefined;
    }
    const range = `The range of valid ports is ${ports.first}-${ports.last}`;
    const why =
      refusal === 'taken' ? 'provided port is already allocated' : `provided port is not in the valid range. ${range}`;
    return invalidField(field, port, why);
  };

  const takeAnyPort = (undos: Undo[]): number => {
    const port = ports.takeAny();
    if (port === undefined)
      throw failure(500, 'InternalError', 'Internal error occurred: failed to allocate a nodePort: range is full');
    undos.push(() => ports.release(port));
    return port;
  };

  const takePorts = (spec: ServiceSpec, had: Set<number>, undos: Undo[]): FieldError[] => {
    const errors: FieldError[] = [];
    const own = new Set(had);
    for (const [index, port] of (spec.ports ?? []).entries()) {
      const wanted = port.nodePort ?? 0;
      if (wanted > 0 && !own.has(wanted)) {
        const error = takePort(wanted, `spec.ports[${index}].nodePort`, undos);
        if (error !== undefined) errors.push(error);
        own.add(wanted);
      } else if (wanted === 0 && wantsNodePorts(spec)) {
        const sibling = (spec.ports ?? []).find(
          (other) => other.port === port.port && other.protocol !== port.protocol && (other.nodePort ?? 0) > 0,
        );
        port.nodePort = sibling?.nodePort ?? takeAnyPort(undos);
        own.add(port.nodePort);
      }
    }
    if (wantsHealthPort(spec)) {
      const wanted = spec.healthCheckNodePort ?? 0;
      if (wanted === 0) spec.healthCheckNodePort = takeAnyPort(undos);
      else if (!own.has(wanted)) {
        const error = takePort(wanted, 'spec.healthCheckNodePort', undos);
        if (error !== undefined) errors.push(error);
      }
    }
    return errors;
  };

  return {
    allocate: (spec, previous) => {
      const undos: Undo[] = [];
      const undo = () => {
        for (const each of undos) each();
      };
      try {
        const errors = [
          ...takeAddresses(spec, new Set(previous === undefined ? [] : addressesOf(previous)), undos),
          ...takePorts(spec, new Set(previous === undefined ? [] : nodePortsOf(previous)), undos),
        ];
        return { errors, undo };
      } catch (error) {
        undo();
        throw error;
      }
    },
    observe: (before, after) => {
      const addressesNow = new Set(after === undefined ? [] : addressesOf(after));
      const portsNow = new Set(after === undefined ? [] : nodePortsOf(after));
      for (const address of before === undefined ? [] : addressesOf(before)) {
        if (!addressesNow.has(address)) addresses.release(address);
      }
      for (const port of before === undefined ? [] : nodePortsOf(before)) {
        if (!portsNow.has(port)) ports.release(port);
      }
      for (const address of addressesNow) addresses.hold(address);
      for (const port of portsNow) ports.take(port);
    },
  };
}
