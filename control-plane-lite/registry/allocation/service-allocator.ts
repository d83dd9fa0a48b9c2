// Gives services their cluster IPs and node ports. What is taken follows the stored services: an address is free
// again when the service that had it is durably gone.
import type { Service } from '#kube/api/generated/core-v1.ts';
import { type FieldError, invalidField } from '#kube/errors/field-error.ts';
import { failure, type StatusError } from '#kube/errors/status-error.ts';
import type { Steps } from '../steps.ts';
import type { Undo } from '../strategy.ts';
import type { AddressPool } from './address-pool.ts';
import type { PortPool } from './port-pool.ts';
import type { ServiceClaims, ServiceOwner } from './service-claims.ts';
import { type ClusterFamilies, type FamilyName, familyNameOf } from './service-families.ts';

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

/** What must be unique in the cluster, and how to give it back when the write fails. */
export interface Allocation {
  errors: FieldError[];
  undo: Undo;
}

export interface ServiceAllocator {
  /** The families of the service network. */
  readonly families: ClusterFamilies;
  /** Takes what `spec` needs beyond what `previous` has, and writes it into `spec`. */
  allocate(
    spec: ServiceSpec,
    previous: ServiceSpec | undefined,
    owner: ServiceOwner,
    options?: { dryRun?: boolean },
  ): Steps<Allocation>;
  /** Follows the store: `before` is replaced by `after`; either may be absent. */
  observe(before: ServiceSpec | undefined, after: ServiceSpec | undefined, owner: ServiceOwner): void;
}

export interface ServicePools {
  /** One for each family, the default one first. */
  addresses: readonly [AddressPool, ...AddressPool[]];
  ports: PortPool;
  /** Absent where no other server writes to the store. */
  claims?: ServiceClaims | undefined;
}

/** Others may be faster so many times in a row. */
const maxClaims = 100;

const nameOf = ({ family }: AddressPool): FamilyName => (family === 4 ? 'IPv4' : 'IPv6');

function internalError(what: string): StatusError {
  return failure(500, 'InternalError', `Internal error occurred: failed to allocate a ${what}: range is full`);
}

/** One allocation: what was taken so far, for whom, and whether other servers have to agree. */
interface Taking {
  owner: ServiceOwner;
  claims: ServiceClaims | undefined;
  undos: Undo[];
}

/** Waits for the store to say whether the owner has it. */
function* settleClaim(claim: (() => Promise<boolean>) | undefined): Steps<boolean> {
  if (claim === undefined) return true;
  let isOwn = false;
  yield async () => {
    isOwn = await claim();
  };
  return isOwn;
}

/** Takes values until one is nobody else's. */
function* takeUnclaimed<T>(
  takeAny: () => T | undefined,
  release: (value: T) => void,
  claim: ((value: T) => Promise<boolean>) | undefined,
): Steps<T | undefined> {
  const lost: T[] = [];
  try {
    for (let tried = 0; tried < maxClaims; tried += 1) {
      const value = takeAny();
      if (value === undefined) return undefined;
      let isOwn = false;
      try {
        isOwn = yield* settleClaim(claim && (() => claim(value)));
      } finally {
        if (!isOwn) lost.push(value);
      }
      if (isOwn) return value;
    }
    return undefined;
  } finally {
    for (const value of lost) release(value);
  }
}

export function createServiceAllocator({ addresses, ports, claims }: ServicePools): ServiceAllocator {
  const [first, ...more] = addresses;
  const families: ClusterFamilies = [nameOf(first), ...more.map(nameOf)];
  const poolOf = (family: string | undefined): AddressPool | undefined =>
    addresses.find((pool) => nameOf(pool) === family);

  function* takeAddress(address: string, pool: AddressPool, taking: Taking): Steps<string | undefined> {
    const refusal = pool.take(address);
    if (refusal === 'outside') return 'the provided network does not match the current range';
    if (refusal === 'taken') return 'provided IP is already allocated';
    const { claims: shared, owner, undos } = taking;
    undos.push(() => pool.release(address));
    const isOwn = yield* settleClaim(shared && (() => shared.claimAddress(address, owner)));
    if (!isOwn) return 'provided IP is already allocated';
    undos.push(() => shared?.unclaimAddress(address, owner));
    return undefined;
  }

  function* takeAnyAddress(pool: AddressPool, { claims: shared, owner, undos }: Taking): Steps<string> {
    const address = yield* takeUnclaimed(
      () => pool.takeAny(),
      (lost) => pool.release(lost),
      shared && ((found) => shared.claimAddress(found, owner)),
    );
    if (address === undefined) throw internalError('serviceIP');
    undos.push(() => pool.release(address));
    undos.push(() => shared?.unclaimAddress(address, owner));
    return address;
  }

  function* takeAddresses(spec: ServiceSpec, had: Set<string>, taking: Taking): Steps<FieldError[]> {
    const errors: FieldError[] = [];
    if (spec.type === 'ExternalName' || spec.clusterIP === 'None') return errors;
    const all = addressesOf(spec);
    const wanted = (spec.ipFamilies ?? []).length > 0 ? (spec.ipFamilies ?? []) : [families[0]];
    for (const [index, family] of wanted.entries()) {
      const given = all[index];
      const pool = poolOf(given === undefined ? family : familyNameOf(given));
      if (given === undefined) {
        if (pool !== undefined) all.push(yield* takeAnyAddress(pool, taking));
        continue;
      }
      if (had.has(given)) continue;
      const why =
        pool === undefined
          ? 'the provided network does not match the current range'
          : yield* takeAddress(given, pool, taking);
      if (why !== undefined) {
        errors.push(invalidField('spec.clusterIPs', addressesOf(spec), `failed to allocate IP ${given}: ${why}`));
      }
    }
    if (errors.length > 0 || all.length === 0) return errors;
    spec.clusterIP = all[0];
    spec.clusterIPs = all;
    return errors;
  }

  function* takePort(
    port: number,
    field: string,
    { claims: shared, owner, undos }: Taking,
  ): Steps<FieldError | undefined> {
    let refusal = ports.take(port);
    if (refusal === undefined) {
      undos.push(() => ports.release(port));
      if (yield* settleClaim(shared && (() => shared.claimPort(port, owner)))) {
        undos.push(() => shared?.unclaimPort(port, owner));
        return undefined;
      }
      refusal = 'taken';
    }
    const range = `The range of valid ports is ${ports.first}-${ports.last}`;
    const why =
      refusal === 'taken' ? 'provided port is already allocated' : `provided port is not in the valid range. ${range}`;
    return invalidField(field, port, why);
  }

  function* takeAnyPort({ claims: shared, owner, undos }: Taking): Steps<number> {
    const port = yield* takeUnclaimed(
      () => ports.takeAny(),
      (lost) => ports.release(lost),
      shared && ((found) => shared.claimPort(found, owner)),
    );
    if (port === undefined) throw internalError('nodePort');
    undos.push(() => ports.release(port));
    undos.push(() => shared?.unclaimPort(port, owner));
    return port;
  }

  function* takePorts(spec: ServiceSpec, had: Set<number>, taking: Taking): Steps<FieldError[]> {
    const errors: FieldError[] = [];
    const own = new Set(had);
    for (const [index, port] of (spec.ports ?? []).entries()) {
      const wanted = port.nodePort ?? 0;
      if (wanted > 0 && !own.has(wanted)) {
        const error = yield* takePort(wanted, `spec.ports[${index}].nodePort`, taking);
        if (error !== undefined) errors.push(error);
        own.add(wanted);
      } else if (wanted === 0 && wantsNodePorts(spec)) {
        const sibling = (spec.ports ?? []).find(
          (other) => other.port === port.port && other.protocol !== port.protocol && (other.nodePort ?? 0) > 0,
        );
        port.nodePort = sibling?.nodePort ?? (yield* takeAnyPort(taking));
        own.add(port.nodePort);
      }
    }
    if (wantsHealthPort(spec)) {
      const wanted = spec.healthCheckNodePort ?? 0;
      if (wanted === 0) spec.healthCheckNodePort = yield* takeAnyPort(taking);
      else if (!own.has(wanted)) {
        const error = yield* takePort(wanted, 'spec.healthCheckNodePort', taking);
        if (error !== undefined) errors.push(error);
      }
    }
    return errors;
  }

  return {
    families,
    *allocate(spec, previous, owner, { dryRun = false } = {}) {
      const undos: Undo[] = [];
      const taking = { owner, claims: dryRun ? undefined : claims, undos };
      const undo = () => {
        for (const each of undos) each();
      };
      try {
        const errors = [
          ...(yield* takeAddresses(spec, new Set(previous === undefined ? [] : addressesOf(previous)), taking)),
          ...(yield* takePorts(spec, new Set(previous === undefined ? [] : nodePortsOf(previous)), taking)),
        ];
        return { errors, undo };
      } catch (error) {
        undo();
        throw error;
      }
    },
    observe: (before, after, owner) => {
      const addressesNow = new Set(after === undefined ? [] : addressesOf(after));
      const portsNow = new Set(after === undefined ? [] : nodePortsOf(after));
      for (const address of before === undefined ? [] : addressesOf(before)) {
        if (!addressesNow.has(address)) for (const pool of addresses) pool.release(address);
      }
      for (const port of before === undefined ? [] : nodePortsOf(before)) {
        if (portsNow.has(port)) continue;
        ports.release(port);
        claims?.unclaimPort(port, owner);
      }
      for (const address of addressesNow) for (const pool of addresses) pool.hold(address);
      for (const port of portsNow) ports.take(port);
    },
  };
}
