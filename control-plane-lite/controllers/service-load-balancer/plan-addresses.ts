// Which addresses of the pool a service gets. Pure.
import type { Service } from '#kube/api/generated/core-v1.ts';
import { canonicalAddress, familyOf, type IpFamily } from '#kube/api/ip-address.ts';
import { type AddressRange, addressesOf, describeRanges, rangesContain } from './address-ranges.ts';

/** The class of services that ask for this pool by name; without a class they get it too. */
export const loadBalancerClass = 'berth.io/address-pool';
/** Services of one namespace with the same value may have one address, each with ports of its own. */
export const sharingAnnotation = 'berth.io/share-address';

/** Who has which address. */
export type AddressUse = ReadonlyMap<string, readonly Service[]>;

export type AddressPlan = { addresses: string[] } | { refusal: string };

/** A service of another class is its own controller's business. */
export function isOurs({ spec }: Service): boolean {
  return spec?.loadBalancerClass === undefined || spec.loadBalancerClass === loadBalancerClass;
}

/** Whether the pool is what the service waits for. */
export function wantsAddress(service: Service): boolean {
  const { metadata, spec } = service;
  return metadata.deletionTimestamp === undefined && spec?.type === 'LoadBalancer' && isOurs(service);
}

/** The addresses that a service has now. */
export function addressesNow({ status }: Service): string[] {
  return (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [canonicalAddress(ip)]));
}

function portsOf({ spec }: Service): string[] {
  return (spec?.ports ?? []).map(({ port, protocol = 'TCP' }) => `${protocol}/${port}`);
}

/** Traffic that only nodes with an endpoint answer goes to the same nodes only where the endpoints are the same. */
function goesTheSameWay(a: Service, b: Service): boolean {
  const isLocal = ({ spec }: Service) => spec?.externalTrafficPolicy === 'Local';
  if (!isLocal(a) && !isLocal(b)) return true;
  const text = ({ spec }: Service) => JSON.stringify(Object.entries(spec?.selector ?? {}).sort());
  return isLocal(a) && isLocal(b) && text(a) === text(b);
}

/** Whether two services may have one address. */
export function mayShare(a: Service, b: Service): boolean {
  const key = a.metadata.annotations?.[sharingAnnotation] ?? '';
  if (key === '' || key !== b.metadata.annotations?.[sharingAnnotation]) return false;
  if (a.metadata.namespace !== b.metadata.namespace) return false;
  const taken = new Set(portsOf(b));
  return !portsOf(a).some((port) => taken.has(port)) && goesTheSameWay(a, b);
}

function isFree(service: Service, address: string, use: AddressUse): boolean {
  const others = (use.get(address) ?? []).filter(({ metadata }) => metadata.uid !== service.metadata.uid);
  return others.every((other) => mayShare(service, other));
}

function familiesOf({ spec }: Service): IpFamily[] {
  return (spec?.ipFamilies ?? ['IPv4']).map((name) => (name === 'IPv6' ? 6 : 4));
}

function pickAddress(
  service: Service,
  family: IpFamily,
  ranges: readonly AddressRange[],
  use: AddressUse,
): AddressPlan {
  const [has] = addressesNow(service).filter((address) => familyOf(address) === family);
  const asked = canonicalAddress(service.spec?.loadBalancerIP ?? '');
  if (asked !== '' && familyOf(asked) === family) {
    if (!rangesContain(ranges, asked))
      return { refusal: `the address ${asked} is not in the pool (${describeRanges(ranges, family)})` };
    if (!isFree(service, asked, use)) {
      const [other] = (use.get(asked) ?? []).filter(({ metadata }) => metadata.uid !== service.metadata.uid);
      return {
        refusal: `the address ${asked} is in use by the service ${other?.metadata.namespace}/${other?.metadata.name}`,
      };
    }
    return { addresses: [asked] };
  }
  if (has !== undefined && rangesContain(ranges, has) && isFree(service, has, use)) return { addresses: [has] };
  const key = service.metadata.annotations?.[sharingAnnotation] ?? '';
  // Those that may share come together where they can.
  const shared =
    key === ''
      ? undefined
      : [...use.keys()].find(
          (address) =>
            familyOf(address) === family &&
            rangesContain(ranges, address) &&
            isFree(service, address, use) &&
            use.get(address)?.some(({ metadata }) => metadata.uid !== service.metadata.uid),
        );
  if (shared !== undefined) return { addresses: [shared] };
  for (const address of addressesOf(ranges, family)) {
    if ((use.get(address) ?? []).every(({ metadata }) => metadata.uid === service.metadata.uid))
      return { addresses: [address] };
  }
  return { refusal: `every address of the pool (${describeRanges(ranges, family)}) is in use` };
}

/** One address of each family that the service has and the pool has; a service keeps what it has. */
export function planAddresses(service: Service, ranges: readonly AddressRange[], use: AddressUse): AddressPlan {
  const families = familiesOf(service).filter((wanted) => ranges.some(({ family }) => family === wanted));
  if (families.length === 0) {
    return { refusal: `the pool has no address of the families ${(service.spec?.ipFamilies ?? ['IPv4']).join(', ')}` };
  }
  const { loadBalancerIP } = service.spec ?? {};
  if (loadBalancerIP !== undefined && loadBalancerIP !== '') {
    const family = familyOf(loadBalancerIP);
    if (family === undefined || !families.includes(family)) {
      return { refusal: `the address ${loadBalancerIP} is not of a family that the service has and the pool has` };
    }
  }
  const addresses: string[] = [];
  for (const family of families) {
    const plan = pickAddress(service, family, ranges, use);
    if ('refusal' in plan) return plan;
    addresses.push(...plan.addresses);
  }
  return { addresses };
}
