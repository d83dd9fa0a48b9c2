// Two nodes of namespaces with the pod network that a proxy makes, pods attached by the real network plugins, and a client
// outside; the nodes share a link or have a router between them. In both families.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pino } from 'pino';
import type { Node, Pod } from '#kube/api/generated/core-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { decodePodNetwork, type PodNetworkConfig } from '../../proxy/config/pod-network-config.ts';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import { createPodNetwork } from '../../proxy/pod-network/pod-network.ts';
import { eventually } from './eventually.ts';
import { createHandFedInformer, type HandFedInformer } from './hand-fed-informer.ts';
import { createNetworkNamespace, type NetworkNamespace } from './network-namespace.ts';
import { createPacketPlace, type PacketPlace } from './packet-place.ts';

export const families = ['IPv4', 'IPv6'] as const;
export const nodeNames = ['node-1', 'node-2'] as const;
export type NodeName = (typeof nodeNames)[number];

/** Who is where: three namespaces, two pods in each, spread so that some share a node and some do not. */
export const podsOf: Record<NodeName, readonly string[]> = {
  'node-1': ['x/a', 'x/b', 'y/a'],
  'node-2': ['y/b', 'z/a', 'z/b'],
};
export const podKeys = [...podsOf['node-1'], ...podsOf['node-2']];
export const podPorts = [80, 81] as const;

/** Nodes' ends of their links, and the other end for where a router is. */
const onOneLink = {
  'node-1': { IPv4: ['192.0.2.11', ''], IPv6: ['fd00:b::11', ''] },
  'node-2': { IPv4: ['192.0.2.12', ''], IPv6: ['fd00:b::12', ''] },
  client: { IPv4: ['192.0.2.50', ''], IPv6: ['fd00:b::50', ''] },
} as const;
const routed = {
  'node-1': { IPv4: ['192.0.2.11', '192.0.2.1'], IPv6: ['fd00:b:1::11', 'fd00:b:1::1'] },
  'node-2': { IPv4: ['198.51.100.12', '198.51.100.1'], IPv6: ['fd00:b:2::12', 'fd00:b:2::1'] },
  client: { IPv4: ['203.0.113.50', '203.0.113.1'], IPv6: ['fd00:b:3::50', 'fd00:b:3::1'] },
} as const;

const cniPath = '/usr/lib/cni';

/** A pod, once it has its addresses. */
export interface NetworkPod {
  key: string;
  node: NodeName;
  place: PacketPlace;
  namespace: NetworkNamespace;
  addresses: Record<IpFamily, string>;
  object: Pod;
}

export interface PodNetworkNode {
  exec: Exec;
  place: PacketPlace;
  object: Node;
  addresses: Record<IpFamily, string>;
  cniConfDir: string;
  config: PodNetworkConfig;
  /** Ends its pod network's process, as a kill would: nothing is cleaned up. */
  stop(): Promise<void>;
  start(): void;
}

export interface PodNetworkCluster extends AsyncDisposable {
  nodes: Record<NodeName, PodNetworkNode>;
  nodeInformer: HandFedInformer<Node>;
  pods: Map<string, NetworkPod>;
  client: { place: PacketPlace; addresses: Record<IpFamily, string> };
  /** Attaches one more pod, with ports of the node if wanted. */
  addPod(key: string, node: NodeName, hostPorts?: readonly number[]): Promise<NetworkPod>;
}

export interface PodNetworkClusterOptions {
  joined: 'by one link' | 'by a router';
  logger?: pino.Logger;
}

interface CniResult {
  ips: { address: string }[];
}

/** Runs the plugins of a configuration list, as a container runtime does. */
async function addToNetwork(
  exec: Exec,
  cniConfDir: string,
  id: string,
  netns: string,
  hostPorts: readonly number[],
): Promise<CniResult> {
  const list = JSON.parse(readFileSync(join(cniConfDir, '99-berth.conflist'), 'utf8'));
  const env = { CNI_COMMAND: 'ADD', CNI_CONTAINERID: id, CNI_NETNS: netns, CNI_IFNAME: 'eth0', CNI_PATH: cniPath };
  let prevResult: CniResult | undefined;
  for (const plugin of list.plugins) {
    const portMappings = hostPorts.map((hostPort) => ({ hostPort, containerPort: podPorts[0], protocol: 'tcp' }));
    const runtimeConfig = plugin.type === 'portmap' ? { portMappings } : {};
    const input = { cniVersion: list.cniVersion, name: list.name, ...plugin, runtimeConfig, prevResult };
    const text = await execOrThrow(exec, join(cniPath, plugin.type), [], { input: JSON.stringify(input), env });
    prevResult = JSON.parse(text) as CniResult;
  }
  return prevResult ?? { ips: [] };
}

/** A file tree where the settings that a proxy looks at are right; the tests set the real ones in the namespaces. */
function writeSettings(root: string): void {
  const paths = [
    'net/ipv4/ip_forward',
    'net/ipv6/conf/all/forwarding',
    'net/bridge/bridge-nf-call-iptables',
    'net/bridge/bridge-nf-call-ip6tables',
  ];
  for (const path of paths) {
    const file = join(root, 'proc/sys', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, '1\n');
  }
}

const forwarding = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];

/** Makes everything; disposing it removes everything. */
export async function createPodNetworkCluster(options: PodNetworkClusterOptions): Promise<PodNetworkCluster> {
  const logger = options.logger ?? pino({ level: 'silent' });
  const links = options.joined === 'by one link' ? onOneLink : routed;
  await using disposables = new AsyncDisposableStack();
  let owner: AsyncDisposableStack = disposables;
  const directory = mkdtempSync(join(tmpdir(), 'berth-pod-network-'));
  disposables.defer(() => rmSync(directory, { recursive: true, force: true }));
  writeSettings(directory);
  const make = async () => owner.use(await createNetworkNamespace('berth-net'));
  const middle = await make();
  const ip = async (exec: Exec, ...args: string[]) => execOrThrow(exec, 'ip', args);
  await execOrThrow(middle.exec, 'sysctl', ['-qw', ...forwarding]);
  if (options.joined === 'by one link') {
    await ip(middle.exec, 'link', 'add', 'switch', 'type', 'bridge');
    await ip(middle.exec, 'link', 'set', 'switch', 'up');
  }
  const connect = async (name: keyof typeof links, end: NetworkNamespace): Promise<void> => {
    await ip(middle.exec, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', end.name);
    for (const family of families) {
      const [address, gateway] = links[name][family];
      const length = family === 'IPv6' ? 64 : 24;
      const nodad = family === 'IPv6' ? ['nodad'] : [];
      await ip(end.exec, 'address', 'add', `${address}/${length}`, 'dev', 'eth0', ...nodad);
      if (gateway !== '') await ip(middle.exec, 'address', 'add', `${gateway}/${length}`, 'dev', name, ...nodad);
    }
    if (options.joined === 'by one link') await ip(middle.exec, 'link', 'set', name, 'master', 'switch');
    await ip(middle.exec, 'link', 'set', name, 'up');
    await ip(end.exec, 'link', 'set', 'eth0', 'up');
    for (const family of families) {
      const [, gateway] = links[name][family];
      if (gateway !== '') await ip(end.exec, 'route', 'add', 'default', 'via', gateway);
    }
  };
  const outside = await make();
  await connect('client', outside);
  const clientPlace = disposables.use(createPacketPlace('client', outside.path));
  for (const port of podPorts) await clientPlace.serve(port);

  const nodeInformer = createHandFedInformer<Node>();
  const createNode = async (name: NodeName): Promise<PodNetworkNode> => {
    const space = await make();
    await connect(name, space);
    const bridged = ['net.bridge.bridge-nf-call-iptables=1', 'net.bridge.bridge-nf-call-ip6tables=1'];
    await execOrThrow(space.exec, 'sysctl', ['-qw', ...forwarding, ...bridged]);
    const number = name.slice(-1);
    const addresses = { IPv4: links[name].IPv4[0], IPv6: links[name].IPv6[0] };
    const object: Node = {
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name },
      spec: { podCIDRs: [`10.244.${number}.0/24`, `fd00:244:${number}::/64`] },
      status: { addresses: families.map((family) => ({ type: 'InternalIP', address: addresses[family] })) },
    };
    nodeInformer.show(object);
    const cniConfDir = join(directory, name, 'cni');
    const flags = {
      'pod-network-cni-conf-dir': cniConfDir,
      'pod-network-ipam-dir': join(directory, name, 'ipam'),
      'pod-network-bridge': 'pods0',
    };
    const config = decodePodNetwork(flags, ['10.244.0.0/16', 'fd00:244::/32']);
    let running: { stop: AbortController; ended: Promise<void> } | undefined;
    const node: PodNetworkNode = {
      exec: space.exec,
      place: disposables.use(createPacketPlace(name, space.path)),
      object,
      addresses,
      cniConfDir,
      config,
      stop: async () => {
        running?.stop.abort();
        await running?.ended;
      },
      start: () => {
        const { exec } = space;
        const nodes = nodeInformer.informer;
        const network = createPodNetwork({
          config,
          nodeName: name,
          nodes,
          exec,
          clock: systemClock,
          root: directory,
          metrics: { synced: () => undefined, failed: () => undefined },
          logger,
        });
        const stop = new AbortController();
        running = { stop, ended: network.run(stop.signal) };
      },
    };
    disposables.defer(async () => node.stop());
    return node;
  };
  const nodes = { 'node-1': await createNode('node-1'), 'node-2': await createNode('node-2') };
  for (const name of nodeNames) nodes[name].start();

  const pods = new Map<string, NetworkPod>();
  const addPod = async (key: string, node: NodeName, hostPorts: readonly number[] = []): Promise<NetworkPod> => {
    const namespace = await make();
    const { exec, cniConfDir } = nodes[node];
    const { ips } = await addToNetwork(exec, cniConfDir, key.replace('/', '-'), namespace.path, hostPorts);
    const found = ips.map(({ address }) => address.split('/')[0] ?? '');
    const addresses = {
      IPv4: found.find((address) => !address.includes(':')) ?? '',
      IPv6: found.find((address) => address.includes(':')) ?? '',
    };
    const [podNamespace = '', name = ''] = key.split('/');
    // Port 80 has one name everywhere; `web` is 80 in pods a and 81 in pods b.
    const web = name === 'b' ? 81 : 80;
    const ports = (['TCP', 'UDP'] as const).flatMap((protocol) => [
      { name: `p80-${protocol.toLowerCase()}`, containerPort: 80, protocol },
      { name: 'web', containerPort: web, protocol },
    ]);
    const object: Pod = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name, namespace: podNamespace, labels: { pod: name } },
      spec: { nodeName: node, containers: [{ name: 'main', ports }] },
      status: { phase: 'Running', podIPs: families.map((family) => ({ ip: addresses[family] })) },
    };
    const place = owner.use(createPacketPlace(key, namespace.path));
    for (const port of podPorts) await place.serve(port);
    const pod = { key, node, place, namespace, addresses, object };
    pods.set(key, pod);
    return pod;
  };
  for (const name of nodeNames) {
    await eventually(`a network configuration on ${name}`, async () =>
      readFileSync(join(nodes[name].cniConfDir, '99-berth.conflist'), 'utf8'),
    );
    for (const key of podsOf[name]) await addPod(key, name);
  }
  owner = disposables.move();
  return {
    nodes,
    nodeInformer,
    pods,
    addPod,
    client: { place: clientPlace, addresses: { IPv4: links.client.IPv4[0], IPv6: links.client.IPv6[0] } },
    [Symbol.asyncDispose]: () => owner.disposeAsync(),
  };
}
