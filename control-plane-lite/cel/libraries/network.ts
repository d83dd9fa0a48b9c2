// Addresses, networks and URLs.
import { BlockList, isIP } from 'node:net';
import { type Environment, EvaluationError } from '@marcbachmann/cel-js';
import { addressToNumber, canonicalAddress, numberToAddress } from '#kube/api/ip-address.ts';
import { addFunctions } from '../function-table.ts';

function isAddress(text: string): boolean {
  if (isIP(text) === 0 || text.includes('%')) return false;
  return !(isIP(text) === 6 && text.includes('.'));
}

function inNetwork(address: IpAddress, networks: readonly [string, number][]): boolean {
  const list = new BlockList();
  for (const [network, prefix] of networks) list.addSubnet(network, prefix, isIP(network) === 4 ? 'ipv4' : 'ipv6');
  return list.check(String(address), address.family() === 4n ? 'ipv4' : 'ipv6');
}

export class IpAddress {
  readonly #text: string;

  constructor(text: string) {
    if (!isAddress(text))
      throw new EvaluationError(
        `IP Address ${JSON.stringify(text)} parse error during conversion from string: ParseAddr(${JSON.stringify(text)}): unable to parse IP`,
      );
    this.#text = canonicalAddress(text);
  }

  family(): bigint {
    return BigInt(isIP(this.#text));
  }

  number(): bigint {
    return addressToNumber(this.#text) ?? 0n;
  }

  toString(): string {
    return this.#text;
  }
}

export class Cidr {
  readonly #address: IpAddress;
  readonly #prefix: number;

  constructor(text: string) {
    const match = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text);
    const address = match?.[1] ?? '';
    const prefix = Number(match?.[2]);
    if (match === null || !isAddress(address) || prefix > (isIP(address) === 4 ? 32 : 128)) {
      throw new EvaluationError(
        `network address parse error during conversion from string: network address parse error during conversion from string: netip.ParsePrefix(${JSON.stringify(text)}): no '/'`,
      );
    }
    this.#address = new IpAddress(address);
    this.#prefix = prefix;
  }

  ip(): IpAddress {
    return this.#address;
  }

  prefixLength(): bigint {
    return BigInt(this.#prefix);
  }

  hostBits(): bigint {
    return BigInt((this.#address.family() === 4n ? 32 : 128) - this.#prefix);
  }

  network(): bigint {
    return this.#address.number() >> this.hostBits();
  }

  masked(): Cidr {
    const value = this.network() << this.hostBits();
    return new Cidr(`${numberToAddress(value, this.#address.family() === 4n ? 4 : 6)}/${this.#prefix}`);
  }

  containsAddress(address: IpAddress): boolean {
    return address.family() === this.#address.family() && address.number() >> this.hostBits() === this.network();
  }

  containsNetwork(other: Cidr): boolean {
    return other.prefixLength() >= this.prefixLength() && this.containsAddress(other.ip());
  }

  toString(): string {
    return `${this.#address}/${this.#prefix}`;
  }
}

export class UrlValue {
  readonly #text: string;
  readonly #url: URL;

  constructor(text: string) {
    // Absolute paths are taken too, as a request line has them.
    const isAbsolute = /^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text);
    const url = URL.parse(isAbsolute ? text : `path://${text}`);
    if (url === null || !(isAbsolute || text.startsWith('/'))) {
      throw new EvaluationError(
        `URL parse error during conversion from string: parse ${JSON.stringify(text)}: invalid URI for request`,
      );
    }
    this.#text = text;
    this.#url = url;
  }

  /** The part of the authority, written as it was: a host's case and default ports are kept. */
  authority(): string {
    const authority = /^[A-Za-z][A-Za-z0-9+.-]*:\/\/([^/?#]*)/.exec(this.#text)?.[1] ?? '';
    return authority.slice(authority.lastIndexOf('@') + 1);
  }

  scheme(): string {
    return /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(this.#text)?.[1]?.toLowerCase() ?? '';
  }

  port(): string {
    return /:(\d*)$/.exec(this.authority())?.[1] ?? '';
  }

  hostname(): string {
    return this.authority()
      .replace(/:\d*$/, '')
      .replace(/^\[|\]$/g, '');
  }

  escapedPath(): string {
    const path = this.#text.replace(/^[A-Za-z][A-Za-z0-9+.-]*:\/\/[^/?#]*/, '').replace(/[?#].*$/s, '');
    return path;
  }

  query(): Record<string, string[]> {
    const values: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
    for (const [name, value] of this.#url.searchParams) values[name] = [...(values[name] ?? []), value];
    return { ...values };
  }

  toString(): string {
    return this.#text;
  }
}

function succeeds(make: () => unknown): boolean {
  try {
    make();
    return true;
  } catch {
    return false;
  }
}

const loopback: [string, number][] = [
  ['127.0.0.0', 8],
  ['::1', 128],
];
const linkLocalUnicast: [string, number][] = [
  ['169.254.0.0', 16],
  ['fe80::', 10],
];
const linkLocalMulticast: [string, number][] = [
  ['224.0.0.0', 24],
  ['ff02::', 16],
];
const multicast: [string, number][] = [
  ['224.0.0.0', 4],
  ['ff00::', 8],
];

const isUnspecified = (address: IpAddress) => address.number() === 0n;

function isGlobalUnicast(address: IpAddress): boolean {
  const isBroadcast = String(address) === '255.255.255.255';
  return (
    !isBroadcast && !isUnspecified(address) && !inNetwork(address, [...loopback, ...multicast, ...linkLocalUnicast])
  );
}

/** The namespace `ip` of `ip.isCanonical`. */
export class IpNamespace {}

export function addNetwork(environment: Environment): void {
  environment.registerType('net.IP', IpAddress);
  environment.registerType('net.CIDR', Cidr);
  environment.registerType('kubernetes.URL', UrlValue);
  environment.registerType('IpNamespace', IpNamespace);
  environment.registerConstant('ip', 'IpNamespace', new IpNamespace());
  environment.registerOperator('net.IP == net.IP', (a: IpAddress, b: IpAddress) => String(a) === String(b));
  environment.registerOperator('net.CIDR == net.CIDR', (a: Cidr, b: Cidr) => String(a) === String(b));
  environment.registerOperator(
    'kubernetes.URL == kubernetes.URL',
    (a: UrlValue, b: UrlValue) => String(a) === String(b),
  );
  addFunctions(environment, {
    'ip(string): net.IP': (text: string) => new IpAddress(text),
    'isIP(string): bool': isAddress,
    'string(net.IP): string': String,
    'IpNamespace.isCanonical(string): bool': (_: IpNamespace, text: string) => String(new IpAddress(text)) === text,
    'net.IP.family(): int': (address: IpAddress) => address.family(),
    'net.IP.isUnspecified(): bool': isUnspecified,
    'net.IP.isLoopback(): bool': (address: IpAddress) => inNetwork(address, loopback),
    'net.IP.isLinkLocalMulticast(): bool': (address: IpAddress) => inNetwork(address, linkLocalMulticast),
    'net.IP.isLinkLocalUnicast(): bool': (address: IpAddress) => inNetwork(address, linkLocalUnicast),
    'net.IP.isGlobalUnicast(): bool': isGlobalUnicast,
    'cidr(string): net.CIDR': (text: string) => new Cidr(text),
    'isCIDR(string): bool': (text: string) => succeeds(() => new Cidr(text)),
    'string(net.CIDR): string': String,
    'net.CIDR.containsIP(net.IP): bool': (cidr: Cidr, address: IpAddress) => cidr.containsAddress(address),
    'net.CIDR.containsIP(string): bool': (cidr: Cidr, text: string) => cidr.containsAddress(new IpAddress(text)),
    'net.CIDR.containsCIDR(net.CIDR): bool': (cidr: Cidr, other: Cidr) => cidr.containsNetwork(other),
    'net.CIDR.containsCIDR(string): bool': (cidr: Cidr, text: string) => cidr.containsNetwork(new Cidr(text)),
    'net.CIDR.ip(): net.IP': (cidr: Cidr) => cidr.ip(),
    'net.CIDR.masked(): net.CIDR': (cidr: Cidr) => cidr.masked(),
    'net.CIDR.prefixLength(): int': (cidr: Cidr) => cidr.prefixLength(),
    'url(string): kubernetes.URL': (text: string) => new UrlValue(text),
    'isURL(string): bool': (text: string) => succeeds(() => new UrlValue(text)),
    'kubernetes.URL.getScheme(): string': (url: UrlValue) => url.scheme(),
    'kubernetes.URL.getHost(): string': (url: UrlValue) => url.authority(),
    'kubernetes.URL.getHostname(): string': (url: UrlValue) => url.hostname(),
    'kubernetes.URL.getPort(): string': (url: UrlValue) => url.port(),
    'kubernetes.URL.getEscapedPath(): string': (url: UrlValue) => url.escapedPath(),
    'kubernetes.URL.getQuery(): map': (url: UrlValue) => url.query(),
  });
}
