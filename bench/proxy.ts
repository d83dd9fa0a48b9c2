// The proxy rows in modes iptables and nftables: a first sync, and one service added, from a generated model in a
// namespace of the bench's own. The floors are one restore of the same rules by hand, and one rule added.
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow } from '#kube/process/exec.ts';
import { createIptables } from '../proxy/apply/iptables.ts';
import { createIptablesApplier } from '../proxy/apply/iptables-applier.ts';
import { createNft } from '../proxy/apply/nft.ts';
import { createNftablesApplier } from '../proxy/apply/nftables-applier.ts';
import { computeServiceState, type PortState } from '../proxy/model/service-state.ts';
import { planLocalTraffic } from '../proxy/plan/iptables/local-traffic.ts';
import { planLocalTraffic as planNftLocalTraffic } from '../proxy/plan/nftables/local-traffic.ts';
import { createNetworkNamespace } from '../test/support/network-namespace.ts';
import { median, type Row } from './measure.ts';

const endpointsEach = 4;

function generate(index: number): Map<string, PortState> {
  const name = `s-${index}`;
  const service: Service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace: 'bench' },
    spec: {
      type: 'ClusterIP',
      clusterIP: `10.${96 + (index >> 16)}.${(index >> 8) & 255}.${index & 255}`,
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
    },
  };
  const addresses = Array.from(
    { length: endpointsEach },
    (_, j) => `10.${128 + (index >> 12)}.${(index >> 4) & 255}.${((index & 15) << 4) + j}`,
  );
  const slice: EndpointSlice = {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name },
    addressType: 'IPv4',
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
    endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
  };
  return computeServiceState(service, [slice], 'IPv4', { nodeName: 'a', zone: undefined });
}

const options = {
  base: {
    family: 'IPv4' as const,
    masqueradeBit: 14,
    randomFully: true,
    conntrackTcpBeLiberal: false,
    localhostNodePorts: true,
    nodePortAddresses: 'all' as const,
  },
  services: {
    localTraffic: planLocalTraffic({ mode: 'ClusterCIDR', cidrs: ['10.244.0.0/16'] }, 'IPv4'),
    masqueradeAll: false,
    nodeIPs: [],
  },
};

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

async function benchSize(count: number): Promise<Row[]> {
  await using namespace = await createNetworkNamespace('berth-bench');
  const logger = pino({ level: 'silent' });
  const model = new Map(Array.from({ length: count }, (_, i) => [`bench/s-${i}`, generate(i)]));
  const applier = createIptablesApplier(createIptables(namespace.exec, 'IPv4'), options, logger);
  const first = await seconds(() => applier.sync(model));
  const changes: number[] = [];
  const floors: number[] = [];
  for (let i = 0; i < 5; i += 1) {
    const key = `bench/s-${count + i}`;
    changes.push(await seconds(() => applier.sync(new Map([[key, generate(count + i)]]))));
    const chains = `*nat\n:BENCH-A${i} - [0:0]\n:BENCH-B${i} - [0:0]\n-A BENCH-A${i} -d 192.0.2.1/32 -j BENCH-B${i}\n-A BENCH-B${i} -d 192.0.2.2/32 -j RETURN\nCOMMIT\n`;
    floors.push(await seconds(() => execOrThrow(namespace.exec, 'iptables-restore', ['--noflush'], { input: chains })));
  }
  const saved = await execOrThrow(namespace.exec, 'iptables-save', ['-t', 'nat']);
  await using empty = await createNetworkNamespace('berth-bench');
  const restore = await seconds(() => execOrThrow(empty.exec, 'iptables-restore', [], { input: saved }));
  const size = `${count.toLocaleString('en')} services x ${endpointsEach}`;
  return [
    { work: `proxy, iptables, ${size}: first sync`, unit: 's', berth: first, floor: restore, budget: '<= 2 x floor' },
    {
      work: `same, one service added`,
      unit: 's',
      berth: median(changes),
      floor: median(floors),
      budget: '<= 2 x floor',
    },
  ];
}

const nftOptions = {
  base: () => ({
    family: 'IPv4' as const,
    masqueradeBit: 14,
    masqueradeAll: false,
    localTraffic: planNftLocalTraffic({ mode: 'ClusterCIDR', cidrs: ['10.244.0.0/16'] }, 'IPv4'),
    nodePortAddresses: 'all' as const,
    serviceCIDRs: ['10.96.0.0/12'],
  }),
  services: { localTraffic: undefined, masqueradeBit: 14, nodeIPs: [] },
};

async function benchNftables(count: number): Promise<Row[]> {
  await using namespace = await createNetworkNamespace('berth-bench');
  const logger = pino({ level: 'silent' });
  const model = new Map(Array.from({ length: count }, (_, i) => [`bench/s-${i}`, generate(i)]));
  const applier = createNftablesApplier(createNft(namespace.exec, 'IPv4'), nftOptions, systemClock, logger);
  const first = await seconds(() => applier.sync(model));
  const changes: number[] = [];
  const floors: number[] = [];
  await execOrThrow(namespace.exec, 'nft', ['add', 'chain', 'ip', 'kube-proxy', 'bench-floor']);
  for (let i = 0; i < 5; i += 1) {
    const key = `bench/s-${count + i}`;
    changes.push(await seconds(() => applier.sync(new Map([[key, generate(count + i)]]))));
    const rule = ['add', 'rule', 'ip', 'kube-proxy', 'bench-floor', 'ip', 'daddr', `192.0.2.${i}`, 'drop'];
    floors.push(await seconds(() => execOrThrow(namespace.exec, 'nft', rule)));
  }
  const saved = await execOrThrow(namespace.exec, 'nft', ['list', 'ruleset']);
  await using empty = await createNetworkNamespace('berth-bench');
  const restore = await seconds(() => execOrThrow(empty.exec, 'nft', ['-f', '-'], { input: saved }));
  const size = `${count.toLocaleString('en')} services x ${endpointsEach}`;
  return [
    { work: `proxy, nftables, ${size}: first sync`, unit: 's', berth: first, floor: restore, budget: '<= 5 s' },
    { work: `same, one service added`, unit: 's', berth: median(changes), floor: median(floors), budget: '<= 0.2 s' },
  ];
}

/** Several sizes, so that the growth shows. */
export async function benchProxy(sizes: readonly number[] = [100, 1000, 10_000]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const size of sizes) rows.push(...(await benchSize(size)));
  for (const size of sizes) rows.push(...(await benchNftables(size)));
  rows.push({
    work: 'proxy memory at that size (this process)',
    unit: 'MB',
    berth: process.memoryUsage.rss() / 2 ** 20,
    budget: '<= 200 MB',
  });
  return rows;
}
