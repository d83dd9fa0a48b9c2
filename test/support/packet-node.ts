// A node of namespaces for tests with real packets: a client outside, pods behind veth pairs, the node in between with
// a proxy's rules, in both families. Pods answer on port 8080 with their name and the address they see.
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow, systemExec } from '#kube/process/exec.ts';
import { applyConntrack } from '../../proxy/apply/conntrack.ts';
import type { RuleApplier, ServiceState } from '../../proxy/apply/rule-applier.ts';
import { loadProxyConfig, type ModeName, modeNames } from '../../proxy/config/proxy-config.ts';
import { createModes } from '../../proxy/mode.ts';
import type { DetectLocal } from '../../proxy/model/detect-local.ts';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import { createNetworkNamespace, type NetworkNamespace } from './network-namespace.ts';
import { createPacketPlace, type PacketPlace } from './packet-place.ts';

export const families = ['IPv4', 'IPv6'] as const;
export const podNames = ['pod-a', 'pod-b', 'pod-c'] as const;
export type PodName = (typeof podNames)[number];
export type PlaceName = 'client' | 'node' | PodName;
/** What pods listen on. */
export const podPort = 8080;

/** Each place's address, and the node's at its end of the link. */
const links: Record<Exclude<PlaceName, 'node'>, Record<IpFamily, { address: string; gateway: string }>> = {
  client: {
    IPv4: { address: '192.0.2.2', gateway: '192.0.2.1' },
    IPv6: { address: 'fd00:c::2', gateway: 'fd00:c::1' },
  },
  'pod-a': {
    IPv4: { address: '10.244.1.10', gateway: '10.244.1.1' },
    IPv6: { address: 'fd00:244:1::10', gateway: 'fd00:244:1::1' },
  },
  'pod-b': {
    IPv4: { address: '10.244.2.10', gateway: '10.244.2.1' },
    IPv6: { address: 'fd00:244:2::10', gateway: 'fd00:244:2::1' },
  },
  'pod-c': {
    IPv4: { address: '10.244.3.10', gateway: '10.244.3.1' },
    IPv6: { address: 'fd00:244:3::10', gateway: 'fd00:244:3::1' },
  },
};

export function addressOf(place: Exclude<PlaceName, 'node'>, family: IpFamily): string {
  return links[place][family].address;
}

/** The address of the node that a pod or the client is linked to. */
export function gatewayOf(place: Exclude<PlaceName, 'node'>, family: IpFamily): string {
  return links[place][family].gateway;
}

export interface PacketNode extends AsyncDisposable {
  places: Record<PlaceName, PacketPlace>;
  /** Runs programs where the node is. */
  exec: Exec;
  /** Applies the services as they are now, in one family; what is not named is gone. */
  apply(family: IpFamily, services: ReadonlyMap<string, ServiceState>): Promise<void>;
  /** A new proxy in the place of the one before, which is dead: it knows nothing of what that one did. */
  restart(mode: ModeName): void;
  /** Writes the rules of another mode, and removes those of the modes before. */
  switchTo(mode: ModeName): Promise<void>;
  applier(family: IpFamily): RuleApplier;
  cleanup(mode: ModeName): Promise<void>;
  /** The proxy dies when it starts its next program but so many; none after `undefined`. */
  crashAfter(programs: number | undefined): void;
}

async function link(node: NetworkNamespace, other: NetworkNamespace, name: Exclude<PlaceName, 'node'>): Promise<void> {
  const run = async (...args: string[]) => execOrThrow(systemExec, 'ip', args);
  await run('-n', node.name, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other.name);
  for (const family of families) {
    const { address, gateway } = links[name][family];
    const length = family === 'IPv6' ? 64 : 24;
    const nodad = family === 'IPv6' ? ['nodad'] : [];
    await run('-n', node.name, 'address', 'add', `${gateway}/${length}`, 'dev', name, ...nodad);
    await run('-n', other.name, 'address', 'add', `${address}/${length}`, 'dev', 'eth0', ...nodad);
  }
  await run('-n', node.name, 'link', 'set', name, 'up');
  await run('-n', other.name, 'link', 'set', 'eth0', 'up');
  for (const family of families) {
    const { gateway } = links[name][family];
    await run(family === 'IPv6' ? '-6' : '-4', '-n', other.name, 'route', 'add', 'default', 'via', gateway);
  }
}

const logger = pino({ level: 'silent' });

export interface PacketNodeOptions {
  /** Of the proxy. */
  flags?: readonly string[];
  /** Nobody sends or answers: only the rules are looked at. */
  isSilent?: boolean;
  /** Whose traffic is of pods here; by the cluster's ranges where absent. */
  detectLocal?: DetectLocal;
}

/** Makes the node with a proxy in a mode. Disposing it removes everything. */
export async function createPacketNode(
  modeName: ModeName,
  { flags = [], isSilent = false, detectLocal }: PacketNodeOptions = {},
): Promise<PacketNode> {
  await using disposables = new AsyncDisposableStack();
  const make = async () => disposables.use(await createNetworkNamespace('berth-path'));
  const spaces = {
    client: await make(),
    node: await make(),
    'pod-a': await make(),
    'pod-b': await make(),
    'pod-c': await make(),
  };
  const { exec } = spaces.node;
  for (const place of ['client', ...podNames] as const) await link(spaces.node, spaces[place], place);
  // Addresses of services need a route until they are translated.
  await execOrThrow(exec, 'ip', ['link', 'add', 'void', 'type', 'veth', 'peer', 'name', 'void-end']);
  await execOrThrow(exec, 'ip', ['link', 'set', 'void', 'up']);
  for (const version of ['-4', '-6'])
    await execOrThrow(exec, 'ip', [version, 'route', 'add', 'default', 'dev', 'void']);
  const sysctls = [
    'net.ipv4.ip_forward=1',
    'net.ipv6.conf.all.forwarding=1',
    // A test is refused more often in a second than others are.
    'net.ipv4.icmp_ratelimit=0',
    'net.ipv6.icmp.ratelimit=0',
  ];
  await execOrThrow(exec, 'sysctl', ['-qw', ...sysctls]);
  const place = (name: PlaceName) => disposables.use(createPacketPlace(name, spaces[name].path));
  const places: Record<PlaceName, PacketPlace> = {
    client: place('client'),
    node: place('node'),
    'pod-a': place('pod-a'),
    'pod-b': place('pod-b'),
    'pod-c': place('pod-c'),
  };
  if (!isSilent) await Promise.all(podNames.map(async (pod) => places[pod].serve(podPort)));
  const { config } = loadProxyConfig(['--cluster-cidr=10.244.0.0/16,fd00:244::/32', ...flags]);
  let programsLeft: number | undefined;
  const mortalExec: Exec = async (file, args, options) => {
    if (programsLeft !== undefined) {
      programsLeft -= 1;
      if (programsLeft < 0) throw new Error('the proxy was killed');
    }
    return await exec(file, args, options);
  };
  const modes = createModes({ config, exec: mortalExec, clock: systemClock, logger });
  const gateways = families.flatMap((family) =>
    (['client', ...podNames] as const).map((name) => gatewayOf(name, family)),
  );
  const facts = {
    detectLocal: detectLocal ?? { mode: 'ClusterCIDR' as const, cidrs: config.clusterCIDRs },
    addresses: { nodeIPs: families.map((family) => gatewayOf('client', family)), interfaces: gateways },
    serviceCIDRs: () => ['10.96.0.0/16', 'fd00:96::/64'],
  };
  const create = (name: ModeName): Record<IpFamily, RuleApplier> => ({
    IPv4: modes[name].createApplier('IPv4', facts),
    IPv6: modes[name].createApplier('IPv6', facts),
  });
  let appliers = create(modeName);
  const last: Record<IpFamily, Map<string, ServiceState>> = { IPv4: new Map(), IPv6: new Map() };
  const owned = disposables.move();
  return {
    places,
    exec,
    applier: (family) => appliers[family],
    apply: async (family, services) => {
      const gone = [...last[family].keys()].filter((key) => !services.has(key));
      last[family] = new Map(services);
      const nothing: ServiceState = new Map();
      const changed = new Map([...services, ...gone.map((key) => [key, nothing] as const)]);
      const { conntrack } = await appliers[family].sync(changed);
      await applyConntrack(exec, conntrack);
    },
    restart: (name) => {
      appliers = create(name);
    },
    switchTo: async (name) => {
      appliers = create(name);
      for (const family of families) {
        await appliers[family].sync(last[family]);
        for (const other of modeNames) {
          if (other !== name) await modes[other].cleanup(family, modes[name].keptChains(family));
        }
      }
    },
    crashAfter: (programs) => {
      programsLeft = programs;
    },
    cleanup: async (name) => {
      for (const family of families) await modes[name].cleanup(family);
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
