// Which address families a service has: what its author said, what it had before, and what the cluster offers. Pure.
// (Kubernetes: KEP-563, pkg/registry/core/service/storage)
import { isDeepStrictEqual } from 'node:util';
import type { Service } from '#kube/api/generated/core-v1.ts';
import { familyOf } from '#kube/api/ip-address.ts';
import { type FieldError, invalidField } from '#kube/errors/field-error.ts';

type ServiceSpec = NonNullable<Service['spec']>;
export type FamilyName = 'IPv4' | 'IPv6';

const familyNames = { 4: 'IPv4', 6: 'IPv6' } as const;

/** The families of the service network, the default one first. */
export type ClusterFamilies = readonly [FamilyName, ...FamilyName[]];

export function familyNameOf(address: string): FamilyName | undefined {
  const family = familyOf(address);
  return family === undefined ? undefined : familyNames[family];
}

const other = (family: string): FamilyName => (family === 'IPv4' ? 'IPv6' : 'IPv4');

/** One address for each family at most, all well-formed; anything else is refused by validation. */
function isWellFormed({ clusterIPs = [], ipFamilies = [] }: ServiceSpec): boolean {
  const isKnown = ipFamilies.every((family) => family === 'IPv4' || family === 'IPv6');
  if (!isKnown || new Set(ipFamilies).size < ipFamilies.length) return false;
  if (clusterIPs[0] === 'None') return clusterIPs.length === 1;
  const families = clusterIPs.map(familyNameOf);
  return (
    !families.includes(undefined) &&
    new Set(families).size === families.length &&
    families.every((family, index) => ipFamilies[index] === undefined || ipFamilies[index] === family)
  );
}

const policyField = 'spec.ipFamilyPolicy';

/** What was given up or added without saying so. Trims what a change to one family makes needless. */
function followChange(spec: ServiceSpec, before: ServiceSpec): FieldError[] {
  const { clusterIPs = [], ipFamilies = [], ipFamilyPolicy } = spec;
  const { clusterIPs: hadIPs = [], ipFamilies: hadFamilies = [] } = before;
  if (ipFamilyPolicy === 'SingleStack') {
    if (clusterIPs.length > 1 && isDeepStrictEqual(clusterIPs, hadIPs)) spec.clusterIPs = clusterIPs.slice(0, 1);
    if (ipFamilies.length > 1 && isDeepStrictEqual(ipFamilies, hadFamilies)) spec.ipFamilies = ipFamilies.slice(0, 1);
    return [];
  }
  const errors: FieldError[] = [];
  const isReduced = (now: readonly string[], had: readonly string[]) =>
    now.length > 0 && now.length < had.length && now[0] === had[0];
  if (isReduced(clusterIPs, hadIPs)) {
    const why = "must be 'SingleStack' to release the secondary cluster IP";
    errors.push(invalidField(policyField, ipFamilyPolicy, why));
  }
  if (isReduced(ipFamilies, hadFamilies)) {
    const why = "must be 'SingleStack' to release the secondary IP family";
    errors.push(invalidField(policyField, ipFamilyPolicy, why));
  }
  return errors;
}

function checkPolicy({ clusterIPs = [], ipFamilies = [], ipFamilyPolicy }: ServiceSpec): FieldError[] {
  if (ipFamilyPolicy !== 'SingleStack') return [];
  const why = (what: string) => `must be 'RequireDualStack' or 'PreferDualStack' when multiple ${what} are specified`;
  return [
    ...(clusterIPs.length === 2 ? [invalidField(policyField, ipFamilyPolicy, why('cluster IPs'))] : []),
    ...(ipFamilies.length === 2 ? [invalidField(policyField, ipFamilyPolicy, why('IP families'))] : []),
  ];
}

/** The families of addresses that were given. */
function inferFamilies(spec: ServiceSpec, cluster: ClusterFamilies): FieldError[] {
  const errors: FieldError[] = [];
  const families = [...(spec.ipFamilies ?? [])];
  for (const [index, address] of (spec.clusterIPs ?? []).entries()) {
    const family = familyNameOf(address);
    if (family === undefined || index < families.length) continue;
    if (cluster.includes(family)) families.push(family);
    else
      errors.push(
        invalidField(`spec.clusterIPs[${index}]`, spec.clusterIPs, `${family} is not configured on this cluster`),
      );
  }
  spec.ipFamilies = families;
  return errors;
}

/** A service that wanted two families where it could, and still does, keeps those that it has. */
function staysAsItIs(spec: ServiceSpec, before: ServiceSpec | undefined): boolean {
  return (
    before !== undefined &&
    spec.type === before.type &&
    spec.ipFamilyPolicy === 'PreferDualStack' &&
    before.ipFamilyPolicy === 'PreferDualStack' &&
    isDeepStrictEqual(spec.clusterIPs, before.clusterIPs) &&
    isDeepStrictEqual(spec.ipFamilies, before.ipFamilies)
  );
}

/** Fills in policy and families in place. Returns what is wrong; what is ill-formed is left to validation. */
export function fillFamilies(
  spec: ServiceSpec,
  before: ServiceSpec | undefined,
  cluster: ClusterFamilies,
): FieldError[] {
  if (spec.type === 'ExternalName' || staysAsItIs(spec, before)) return [];
  const isBare = spec.clusterIP === 'None' && Object.keys(spec.selector ?? {}).length === 0;
  spec.ipFamilyPolicy ??= before?.ipFamilyPolicy ?? (isBare ? 'RequireDualStack' : 'SingleStack');
  if (!isWellFormed(spec)) return [];
  const errors = [
    ...(before === undefined ? [] : followChange(spec, before)),
    ...checkPolicy(spec),
    ...inferFamilies(spec, cluster),
  ];
  if (errors.length > 0) return errors;
  const { ipFamilyPolicy } = spec;
  const families = spec.ipFamilies ?? [];
  if (!isBare) {
    if (ipFamilyPolicy === 'RequireDualStack' && cluster.length < 2) {
      const why = 'this cluster is not configured for dual-stack services';
      errors.push(invalidField(policyField, ipFamilyPolicy, why));
    }
    for (const [index, family] of families.entries()) {
      if (cluster.some((each) => each === family)) continue;
      errors.push(invalidField(`spec.ipFamilies[${index}]`, family, 'not configured on this cluster'));
    }
    if (errors.length > 0) return errors;
  }
  const [first = cluster[0]] = families;
  const wantsBoth = ipFamilyPolicy !== 'SingleStack' && (isBare || cluster.length === 2);
  spec.ipFamilies = families.length < 2 ? [first, ...(wantsBoth ? [other(first)] : [])] : families;
  return [];
}
