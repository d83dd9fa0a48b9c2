// Rules of ServiceCIDR and IPAddress. (Kubernetes: pkg/apis/networking/validation)
import { isIP } from 'node:net';
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { canonicalAddress, formatNetwork, parseNetwork } from '#kube/api/ip-address.ts';
import { type FieldError, invalidField, requiredField } from '#kube/errors/field-error.ts';
import { unchanged } from './field-checks.ts';

const cidrText = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

function cidrErrors(field: string, cidr: string): FieldError[] {
  const network = parseNetwork(cidr);
  if (network === undefined) return [invalidField(field, cidr, cidrText)];
  const wanted = formatNetwork(network);
  return wanted === cidr ? [] : [invalidField(field, cidr, `must be in canonical form (${JSON.stringify(wanted)})`)];
}

export function validateServiceCidr({ spec }: ServiceCIDR): FieldError[] {
  const cidrs = spec?.cidrs ?? [];
  if (cidrs.length === 0) return [requiredField('spec.cidrs', 'at least one CIDR required')];
  if (cidrs.length > 2) {
    return [invalidField('spec', { cidrs }, 'may only hold up to 2 values')];
  }
  const families = cidrs.map((cidr) => parseNetwork(cidr)?.family);
  if (cidrs.length === 2 && !families.includes(undefined) && new Set(families).size !== 2) {
    return [
      invalidField(
        'spec',
        { cidrs },
        'may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64',
      ),
    ];
  }
  return cidrs.flatMap((cidr, index) => cidrErrors(`spec.cidrs[${index}]`, cidr));
}

/** Ranges stay; a second family may be added to one. */
export function validateServiceCidrUpdate(cidr: ServiceCIDR, previous: ServiceCIDR): FieldError[] {
  const now = cidr.spec?.cidrs ?? [];
  const before = previous.spec?.cidrs ?? [];
  if (before.length === 1 && now.length === 2) {
    return now[0] === before[0]
      ? validateServiceCidr(cidr)
      : [invalidField('spec.cidrs[0]', now[0], 'field is immutable')];
  }
  return unchanged('spec.cidrs', now, before);
}

export function validateIpAddress({ metadata, spec }: IPAddress): FieldError[] {
  const errors: FieldError[] = [];
  const { name } = metadata;
  if (isIP(name) === 0) {
    errors.push(invalidField('metadata.name', name, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'));
  } else if (canonicalAddress(name) !== name) {
    const wanted = JSON.stringify(canonicalAddress(name));
    errors.push(invalidField('metadata.name', name, `must be in canonical form (${wanted})`));
  }
  const parent = spec?.parentRef;
  if (parent === undefined) return [...errors, requiredField('spec.parentRef')];
  const { group = '', resource = '', namespace = '', name: parentName = '' } = parent;
  const plain: [string, string, boolean][] = [
    ['group', group, false],
    ['resource', resource, true],
    ['namespace', namespace, false],
    ['name', parentName, true],
  ];
  for (const [field, value, isRequired] of plain) {
    const at = `spec.parentRef.${field}`;
    if (value === '' && isRequired) errors.push(requiredField(at));
    else if (/[/%]/.test(value) || value === '.' || value === '..') {
      errors.push(
        invalidField(
          at,
          value,
          value.startsWith('.') ? `may not be '${value}'` : `may not contain '${/[/%]/.exec(value)?.[0]}'`,
        ),
      );
    }
  }
  return errors;
}

export function validateIpAddressUpdate(address: IPAddress, previous: IPAddress): FieldError[] {
  return unchanged('spec.parentRef', address.spec?.parentRef, previous.spec?.parentRef);
}
