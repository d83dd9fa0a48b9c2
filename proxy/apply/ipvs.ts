// Runs ipvsadm, ipset and ip for one family: what the kernel has, and batches that change it.

import { canonicalAddress } from '#kube/api/ip-address.ts';
import { type Exec, ExecError, execOrThrow } from '#kube/process/exec.ts';
import { type IpFamily, isOfFamily } from '../model/service-port.ts';
import { createSetLine, type IpSetName, ipSetNames, kernelSetName } from '../plan/ipvs/ip-sets.ts';
import type { KernelState } from '../plan/ipvs/ownership.ts';
import type { DrainingServer, IpvsChange } from '../plan/ipvs/plan-change.ts';
import { dummyInterface, parseServiceArgument, type VirtualServer } from '../plan/ipvs/rules.ts';

/** Seconds; 0 leaves what the kernel has. */
export interface IpvsTimeouts {
  tcp: number;
  tcpFin: number;
  udp: number;
}

export interface Ipvs {
  read(): Promise<KernelState>;
  /** Throws when a program refused a line; then some of the change is there and some is not. */
  apply(change: IpvsChange): Promise<void>;
  /** Makes the dummy interface and the sets, and sets what the kernel must do for ipvs. */
  prepare(options: { strictArp: boolean; timeouts: IpvsTimeouts }): Promise<void>;
  /** Those of some real servers that have no connections any more. */
  idle(servers: readonly DrainingServer[]): Promise<DrainingServer[]>;
  hasDummyInterface(): Promise<boolean>;
  /** Why ipvs with a scheduler cannot be used on this machine; undefined when it can. */
  refusal(scheduler: string): Promise<string | undefined>;
  /** Removes sets, and the dummy interface when the other family has none. */
  destroy(): Promise<void>;
}

/** Output of `ipvsadm -S -n`. */
export function parseServers(text: string): VirtualServer[] {
  const servers: (VirtualServer & { realServers: Map<string, number> })[] = [];
  for (const line of text.split('\n')) {
    const added = /^-A (\S+ \S+) (.*)$/.exec(line);
    if (added !== null) {
      servers.push({
        kind: 'server',
        service: added[1] ?? '',
        options: (added[2] ?? '').trim(),
        realServers: new Map(),
      });
    }
    const real = /^-a (\S+ \S+) -r (\S+) .*-w (\d+)/.exec(line);
    // A real server stands behind its virtual one.
    if (real !== null) servers.at(-1)?.realServers.set(real[2] ?? '', Number(real[3]));
  }
  return servers;
}

/** Entries of the family's sets in the output of `ipset save`. */
export function parseSets(text: string, family: IpFamily): Map<IpSetName, Set<string>> {
  const byName = new Map(ipSetNames.map((set) => [kernelSetName(set, family), set]));
  const entries = new Map<IpSetName, Set<string>>();
  for (const line of text.split('\n')) {
    const [, verb, name = '', entry = ''] = /^(create|add) (\S+) (\S+)/.exec(line) ?? [];
    const set = byName.get(name);
    if (set === undefined) continue;
    if (verb === 'create') entries.set(set, new Set());
    else entries.get(set)?.add(entry);
  }
  return entries;
}

/** Connections by virtual and real server in the output of `ipvsadm -L -n`. */
export function parseConnections(text: string): Map<string, number> {
  const flags: Record<string, string> = { TCP: '-t', UDP: '-u', SCTP: '--sctp-service' };
  const counts = new Map<string, number>();
  let service = '';
  for (const line of text.split('\n')) {
    const [, protocol = '', address = ''] = /^(TCP|UDP|SCTP)\s+(\S+)/.exec(line) ?? [];
    if (protocol !== '') service = `${flags[protocol]} ${address}`;
    const real = /^\s+-> (\S+)\s+\S+\s+\d+\s+(\d+)\s+(\d+)/.exec(line);
    if (real !== null) counts.set(`${service} ${real[1]}`, Number(real[2]) + Number(real[3]));
  }
  return counts;
}

interface AddressListing {
  addr_info?: { local?: string }[];
}

export function createIpvs(exec: Exec, family: IpFamily): Ipvs {
  const batch = async (file: string, args: readonly string[], lines: readonly string[]): Promise<void> => {
    if (lines.length === 0) return;
    const result = await exec(file, args, { input: `${lines.join('\n')}\n` });
    // ipvsadm goes on behind a line that failed, and its code is that of the last one.
    if (result.exitCode !== 0 || result.stderr.trim() !== '') throw new ExecError(file, args, result);
  };
  const hasDummyInterface = async (): Promise<boolean> =>
    (await exec('ip', ['link', 'show', 'dev', dummyInterface])).exitCode === 0;
  const setNames = async (): Promise<string[]> => (await execOrThrow(exec, 'ipset', ['list', '-n'])).split('\n');

  return {
    hasDummyInterface,
    read: async () => {
      const listed = await execOrThrow(exec, 'ip', ['-j', 'address', 'show', 'dev', dummyInterface]);
      const local = (JSON.parse(listed) as AddressListing[]).flatMap(({ addr_info: info = [] }) =>
        info.flatMap(({ local: address }) => (address === undefined ? [] : [canonicalAddress(address)])),
      );
      const servers = parseServers(await execOrThrow(exec, 'ipvsadm', ['-S', '-n']));
      const isOurFamily = ({ service }: VirtualServer): boolean =>
        isOfFamily(parseServiceArgument(service)?.address ?? '', family);
      return {
        servers: servers.filter(isOurFamily),
        addresses: new Set(local.filter((address) => isOfFamily(address, family) && !address.startsWith('fe80:'))),
        entries: parseSets(await execOrThrow(exec, 'ipset', ['save']), family),
      };
    },
    apply: async (change) => {
      await batch('ipset', ['restore', '-exist'], change.entriesAdded);
      await batch('ipvsadm', ['-R'], change.servers);
      await batch('ip', ['-batch', '-'], change.addresses);
      await batch('ipset', ['restore', '-exist'], change.entriesRemoved);
    },
    prepare: async ({ strictArp, timeouts }) => {
      if (!(await hasDummyInterface())) {
        await execOrThrow(exec, 'ip', ['link', 'add', dummyInterface, 'type', 'dummy']);
      }
      const sysctls = [
        // Translated connections must be known to netfilter, which masquerades them.
        'net.ipv4.vs.conntrack=1',
        // Connections to an endpoint that went find another one, and so do clients that stuck to it.
        'net.ipv4.vs.expire_nodest_conn=1',
        'net.ipv4.vs.expire_quiescent_template=1',
        family === 'IPv6' ? 'net.ipv6.conf.all.forwarding=1' : 'net.ipv4.ip_forward=1',
        ...(strictArp ? ['net.ipv4.conf.all.arp_ignore=1', 'net.ipv4.conf.all.arp_announce=2'] : []),
      ];
      await execOrThrow(exec, 'sysctl', ['-qw', ...sysctls]);
      const { tcp, tcpFin, udp } = timeouts;
      if (tcp + tcpFin + udp > 0) await execOrThrow(exec, 'ipvsadm', ['--set', `${tcp}`, `${tcpFin}`, `${udp}`]);
      const lines = ipSetNames.map((set) => createSetLine(set, family));
      await batch('ipset', ['restore', '-exist'], lines);
    },
    idle: async (servers) => {
      const services = new Set(servers.map(({ service }) => service));
      const [only, ...more] = services;
      // Each look costs a process: one for all, but where only one is asked for.
      const which = only === undefined || more.length > 0 ? [] : only.split(' ');
      const result = await exec('ipvsadm', ['-L', '-n', ...which]);
      if (result.exitCode !== 0 && which.length === 0) throw new ExecError('ipvsadm', ['-L', '-n'], result);
      // A virtual server that is gone has no connections.
      const counts = parseConnections(result.exitCode === 0 ? result.stdout : '');
      return servers.filter(({ service, realServer }) => (counts.get(`${service} ${realServer}`) ?? 0) === 0);
    },
    refusal: async (scheduler) => {
      // An address that is reserved for documents, as kube-proxy's probe.
      const probe = ['-t', family === 'IPv6' ? '[2001:db8::ffff]:20000' : '198.51.100.0:20000'];
      try {
        await execOrThrow(exec, 'ipset', ['list', '-n']);
        const servers = parseServers(await execOrThrow(exec, 'ipvsadm', ['-S', '-n']));
        if (servers.some(({ options }) => options.split(' ')[1] === scheduler)) return undefined;
        await execOrThrow(exec, 'ipvsadm', ['-A', ...probe, '-s', scheduler]);
        await execOrThrow(exec, 'ipvsadm', ['-D', ...probe]);
        return undefined;
      } catch (error) {
        return error instanceof Error ? error.message : String(error);
      }
    },
    destroy: async () => {
      const existing = await setNames();
      const ours = ipSetNames.map((set) => kernelSetName(set, family)).filter((name) => existing.includes(name));
      await batch(
        'ipset',
        ['restore'],
        ours.map((name) => `destroy ${name}`),
      );
      const otherFamily = family === 'IPv6' ? 'IPv4' : 'IPv6';
      const others = ipSetNames.map((set) => kernelSetName(set, otherFamily));
      if (existing.some((name) => others.includes(name))) return;
      if (await hasDummyInterface()) await execOrThrow(exec, 'ip', ['link', 'delete', dummyInterface]);
    },
  };
}
