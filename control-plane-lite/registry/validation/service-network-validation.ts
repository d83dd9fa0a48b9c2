// Rules of ServiceCIDR and IPAddress. (Kubernetes: pkg/apis/networking/validation)
import { isIP } from 'node:net';
import type { IPAddress, ServiceCIDR } from '#kube/api/generated/networking-v1.ts';
import { type FieldError, invalidField, requiredField } from '#kube/errors/field-error.ts';
import { isCidr, unchanged } from './field-checks.ts';

const cidrText = 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)';

/** An address as it is written everywhere: without leading zeros, IPv6 at its shortest. */
function canonical(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

const familyOf = (cidr: string): number => isIP(cidr.split('/')[0] ?? '');

function cidrErrors(field: string, cidr: string): FieldError[] {
  if (!isCidr(cidr)) return [invalidField(field, cidr, cidrText)];
  const [address = '', length = ''] = cidr.split('/');
  const network = networkOf(address, Number(length));
  const wanted = `${network}/${Number(length)}`;
  return wanted === cidr ? [] : [invalidField(field, cidr, `must be in canonical form (${JSON.stringify(wanted)})`)];
}

/** The address without the bits of a host. */
function networkOf(address: string, length: number): string {
  const isV4 = isIP(address) === 4;
  const bits = isV4 ? 32n : 128n;
  const hostBits = bits - BigInt(length);
  const value = (toNumber(address) >> hostBits) << hostBits;
  if (isV4) return [24n, 16n, 8n, 0n].map((shift) => (value >> shift) & 255n).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => ((value >> BigInt(112 - 16 * index)) & 0xffffn).toString(16));
  return canonical(groups.join(':'));
}

function toNumber(address: string): bigint {
  if (isIP(address) === 4) return address.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = canonical(address).split('::');
  const words = (text: string | undefined) => (text ? text.split(':').map((word) => BigInt(`0x${word}`)) : []);
  const before = words(head);
  const after = words(tail);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => 0n);
  return [...before, ...zeros, ...after].reduce((sum, word) => sum * 65536n + word, 0n);
}

export function validateServiceCidr({ spec }: ServiceCIDR): FieldError[] {
  const cidrs = spec?.cidrs ?? [];
  if (cidrs.length === 0) return [requiredField('spec.cidrs', 'at least one CIDR required')];
  if (cidrs.length > 2) {
    return [invalidField('spec', { cidrs }, 'may only hold up to 2 values')];
  }
  if (cidrs.length === 2 && cidrs.every((cidr) => isCidr(cidr)) && new Set(cidrs.map(familyOf)).size !== 2) {
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
  } else if (canonical(name) !== name) {
    errors.push(invalidField('metadata.name', name, `must be in canonical form (${JSON.stringify(canonical(name))})`));
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
