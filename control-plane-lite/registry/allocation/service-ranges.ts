// What ServiceCIDR and IPAddress objects say about the service network. Pure. (Kubernetes: KEP-1880)
import { isIP } from 'node:net';
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { networkContains, parseNetwork } from '#kube/api/ip-address.ts';

const managedByLabel = 'ipaddress.kubernetes.io/managed-by';
const familyLabel = 'ipaddress.kubernetes.io/ip-family';
const manager = 'ipallocator.k8s.io';

/** Labels of the objects that the API server makes for cluster IPs. */
export const addressLabels = (address: string): Record<string, string> => ({
  [familyLabel]: isIP(address) === 6 ? 'IPv6' : 'IPv4',
  [managedByLabel]: manager,
});

/** Whether the API server made it for a cluster IP. */
export const isOfAllocator = ({ metadata }: IPAddress): boolean => metadata.labels?.[managedByLabel] === manager;

/** Whether services may get addresses from it. */
export function isReadyRange({ metadata, status }: ServiceCIDR): boolean {
  if (metadata.deletionTimestamp !== undefined) return false;
  const ready = status?.conditions?.find(({ type }) => type === 'Ready');
  // Without anybody who looks after ranges, a new one is ready.
  return ready === undefined || ready.status === 'True';
}

/** The networks that addresses come from: the server's own first, unless their object is being deleted. */
export function selectRanges(own: readonly string[], cidrs: readonly ServiceCIDR[]): string[] {
  const ready = cidrs.filter(isReadyRange).flatMap(({ spec }) => spec.cidrs ?? []);
  const isEnding = (range: string) =>
    cidrs.some(({ metadata, spec }) => metadata.deletionTimestamp !== undefined && (spec.cidrs ?? []).includes(range));
  return [...new Set([...own.filter((range) => !isEnding(range)), ...ready])];
}

/** Whether the address, or the whole of the other range, lies in the range. */
export function rangeContains(cidr: string, other: string): boolean {
  const outer = parseNetwork(cidr);
  const inner = parseNetwork(other.includes('/') ? other : `${other}/${isIP(other) === 6 ? 128 : 32}`);
  return outer !== undefined && inner !== undefined && networkContains(outer, inner);
}

const rangesOf = ({ spec }: ServiceCIDR): string[] => spec.cidrs ?? [];

/** Names of the objects whose fate hangs on this one's: those around it and those within it. */
export function overlapping(of: ServiceCIDR, all: readonly ServiceCIDR[]): string[] {
  const touches = (other: ServiceCIDR): boolean =>
    rangesOf(of).some((a) => rangesOf(other).some((b) => rangeContains(a, b) || rangeContains(b, a)));
  return all.filter(touches).map(({ metadata }) => metadata.name);
}

/** Whether no address of a service would be left outside all ranges once this object is gone. */
export function canRemoveRange(
  removed: ServiceCIDR,
  all: readonly ServiceCIDR[],
  addresses: readonly IPAddress[],
): boolean {
  const others = all.filter(({ metadata }) => metadata.name !== removed.metadata.name).flatMap(rangesOf);
  const isCovered = (what: string): boolean => others.some((range) => rangeContains(range, what));
  if (rangesOf(removed).every(isCovered)) return true;
  return !addresses.some(
    (address) =>
      isOfAllocator(address) &&
      rangesOf(removed).some((range) => rangeContains(range, address.metadata.name)) &&
      !isCovered(address.metadata.name),
  );
}
