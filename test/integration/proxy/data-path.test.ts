// Real packets through a node of namespaces: a client outside, two pods behind veth pairs, the node in between.
import assert from 'node:assert/strict';
import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import type { ServiceState } from '../../../proxy/apply/rule-applier.ts';
import { loadProxyConfig, type ModeName, modeNames } from '../../../proxy/config/proxy-config.ts';
import { createModes } from '../../../proxy/mode.ts';
import { computeServiceState } from '../../../proxy/model/service-state.ts';
import {
  createNetworkNamespace,
  type NetworkNamespace,
  namespacesUnavailable,
} from '../../support/network-namespace.ts';

const skip = namespacesUnavailable() ?? false;
const logger = pino({ level: 'silent' });
const nodeIP = '192.0.2.1';
const serverSource = `
  const name = process.argv[1];
  require('node:net').createServer((socket) => { socket.write(name + ' ' + socket.remoteAddress); socket.on('error', () => {}).pipe(socket); }).listen(8080, '0.0.0.0', () => console.log('listening'));
  const udp = require('node:dgram').createSocket('udp4');
  udp.on('message', (_, peer) => udp.send(name + ' ' + peer.address, peer.port, peer.address));
  udp.bind(8080);
`;
/** Prints what the server said, or the code of the error. */
const tcpSource = `
  const socket = require('node:net').connect({ host: process.argv[1], port: Number(process.argv[2]), timeout: 700 });
  const end = (text) => { console.log(text); process.exit(); };
  socket.on('data', (data) => end(String(data))).on('timeout', () => end('TIMEOUT')).on('error', (error) => end(error.code));
`;
const udpSource = `
  const socket = require('node:dgram').createSocket('udp4');
  const end = (text) => { console.log(text); process.exit(); };
  socket.on('message', (data) => end(String(data))).on('error', (error) => end(error.code));
  socket.connect(Number(process.argv[2]), process.argv[1], () => socket.send('x'));
  setTimeout(() => end('TIMEOUT'), 700);
`;

interface Node extends AsyncDisposable {
  /** What a connection from one place to an address gives: \`SERVER SOURCE\`, or why there was none. */
  ask(
    from: 'client' | 'node' | 'pod-a' | 'pod-b',
    address: string,
    port: number,
    protocol?: 'TCP' | 'UDP',
  ): Promise<string>;
  apply(service: Service, slice: EndpointSlice): Promise<void>;
  /** Puts the rules of another mode in place of those that are there. */
  switchTo(mode: ModeName): Promise<void>;
  /** A connection that stays open: what is written comes back after what the server says. */
  hold(from: 'client' | 'pod-b', address: string, port: number): ChildProcessByStdio<Writable, Readable, null>;
}

/** Joins a namespace to the node's by a veth pair with these addresses. */
async function join(node: NetworkNamespace, other: NetworkNamespace, name: string, nodeEnd: string, end: string) {
  const run = async (...args: string[]) => execOrThrow(systemExec, 'ip', args);
  await run('-n', node.name, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', other.name);
  await run('-n', node.name, 'address', 'add', nodeEnd, 'dev', name);
  await run('-n', other.name, 'address', 'add', end, 'dev', 'eth0');
  await run('-n', node.name, 'link', 'set', name, 'up');
  await run('-n', other.name, 'link', 'set', 'eth0', 'up');
  await run('-n', other.name, 'route', 'add', 'default', 'via', nodeEnd.split('/')[0] ?? '');
}

async function createNode(modeName: ModeName): Promise<Node> {
  await using disposables = new AsyncDisposableStack();
  const make = async () => disposables.use(await createNetworkNamespace('berth-path'));
  const places = { client: await make(), node: await make(), 'pod-a': await make(), 'pod-b': await make() };
  await join(places.node, places.client, 'outside', `${nodeIP}/24`, '192.0.2.2/24');
  await join(places.node, places['pod-a'], 'pod-a', '10.244.1.1/24', '10.244.1.10/24');
  await join(places.node, places['pod-b'], 'pod-b', '10.244.2.1/24', '10.244.2.10/24');
  // Addresses of services need a route until they are translated.
  await execOrThrow(places.node.exec, 'ip', ['link', 'add', 'void', 'type', 'veth', 'peer', 'name', 'void-end']);
  await execOrThrow(places.node.exec, 'ip', ['link', 'set', 'void', 'up']);
  await execOrThrow(places.node.exec, 'ip', ['route', 'add', 'default', 'dev', 'void']);
  await execOrThrow(places.node.exec, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
  for (const pod of ['pod-a', 'pod-b'] as const) {
    const child: ChildProcess = spawn(
      'nsenter',
      [`--net=${places[pod].path}`, process.execPath, '-e', serverSource, pod],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    disposables.defer(async () => {
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    });
    if (child.stdout !== null) await once(child.stdout, 'data');
  }
  const { config } = loadProxyConfig(['--cluster-cidr=10.244.0.0/16']);
  const modes = createModes({ config, exec: places.node.exec, clock: systemClock, logger });
  const facts = {
    detectLocal: { mode: 'ClusterCIDR' as const, cidrs: config.clusterCIDRs },
    addresses: { nodeIPs: [nodeIP], interfaces: [nodeIP, '10.244.1.1', '10.244.2.1'] },
    serviceCIDRs: () => ['10.96.0.0/16'],
  };
  let applier = modes[modeName].createApplier('IPv4', facts);
  const last = new Map<string, ServiceState>();
  const owned = disposables.move();
  return {
    ask: async (from, address, port, protocol = 'TCP') => {
      const source = protocol === 'TCP' ? tcpSource : udpSource;
      return (await execOrThrow(places[from].exec, process.execPath, ['-e', source, address, `${port}`])).trim();
    },
    apply: async (service, slice) => {
      const state = computeServiceState(service, [slice], 'IPv4', { nodeName: 'here', zone: undefined });
      last.set(`demo/${service.metadata.name}`, state);
      await applier.sync(last);
    },
    switchTo: async (name) => {
      applier = modes[name].createApplier('IPv4', facts);
      await applier.sync(last);
      for (const other of modeNames) if (other !== name) await modes[other].cleanup('IPv4');
    },
    hold: (from, address, port) => {
      const source =
        "process.stdin.pipe(require('node:net').connect(process.argv[2], process.argv[1])).pipe(process.stdout)";
      return spawn('nsenter', [`--net=${places[from].path}`, process.execPath, '-e', source, address, `${port}`], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function createService(spec: Partial<Service['spec']>, status: Service['status'] = {}): Service {
  const ports = (['TCP', 'UDP'] as const).map((protocol) => ({
    name: protocol.toLowerCase(),
    port: 80,
    nodePort: 30080,
    protocol,
  }));
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web', namespace: 'demo' },
    spec: { type: 'NodePort', clusterIP: '10.96.1.1', ports, ...spec },
    status,
  };
}

/** The endpoints of the service: pods by name with the node they are on. */
function createSlice(pods: Partial<Record<'pod-a' | 'pod-b', string>>): EndpointSlice {
  const ip = { 'pod-a': '10.244.1.10', 'pod-b': '10.244.2.10' };
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'web-1', namespace: 'demo' },
    addressType: 'IPv4',
    ports: (['TCP', 'UDP'] as const).map((protocol) => ({ name: protocol.toLowerCase(), port: 8080, protocol })),
    endpoints: (['pod-a', 'pod-b'] as const)
      .filter((pod) => pods[pod] !== undefined)
      .map((pod) => ({ addresses: [ip[pod]], nodeName: pods[pod] ?? '', conditions: { ready: true } })),
  };
}

const client = '192.0.2.2';

for (const mode of modeNames) {
  describe(`packets in mode ${mode}`, { skip }, () => {
    it('go to an endpoint from everywhere, with the source that answers come back to', async () => {
      await using node = await createNode(mode);
      await node.apply(createService({}), createSlice({ 'pod-a': 'here' }));
      for (const protocol of ['TCP', 'UDP'] as const) {
        assert.equal(
          await node.ask('pod-b', '10.96.1.1', 80, protocol),
          'pod-a 10.244.2.10',
          'pods keep their address',
        );
        assert.equal(await node.ask('client', '10.96.1.1', 80, protocol), 'pod-a 10.244.1.1', 'others are masqueraded');
        assert.equal(await node.ask('node', '10.96.1.1', 80, protocol), 'pod-a 10.244.1.1');
        assert.equal(await node.ask('client', nodeIP, 30080, protocol), 'pod-a 10.244.1.1');
        assert.equal(await node.ask('pod-a', '10.96.1.1', 80, protocol), 'pod-a 10.244.1.1', 'hairpin');
      }
    });

    it('reach all endpoints, and only the first one chosen with affinity', async () => {
      await using node = await createNode(mode);
      const both = createSlice({ 'pod-a': 'here', 'pod-b': 'elsewhere' });
      await node.apply(createService({}), both);
      const ask = async () => (await node.ask('client', '10.96.1.1', 80)).split(' ')[0];
      const seen = new Set<string | undefined>();
      for (let i = 0; i < 30 && seen.size < 2; i += 1) seen.add(await ask());
      assert.deepEqual([...seen].sort(), ['pod-a', 'pod-b']);
      await node.apply(createService({ sessionAffinity: 'ClientIP' }), both);
      const stuck = new Set<string | undefined>();
      for (let i = 0; i < 8; i += 1) stuck.add(await ask());
      assert.equal(stuck.size, 1);
    });

    it('keep the client address under the local policy, and are dropped without a local endpoint', async () => {
      await using node = await createNode(mode);
      const service = createService({ externalTrafficPolicy: 'Local' });
      await node.apply(service, createSlice({ 'pod-a': 'here', 'pod-b': 'elsewhere' }));
      for (let i = 0; i < 5; i += 1) assert.equal(await node.ask('client', nodeIP, 30080), `pod-a ${client}`);
      await node.apply(service, createSlice({ 'pod-b': 'elsewhere' }));
      assert.equal(await node.ask('client', nodeIP, 30080), 'TIMEOUT');
      assert.match(await node.ask('pod-a', '10.96.1.1', 80), /^pod-b /, 'internal traffic goes everywhere');
    });

    it('are refused at once without endpoints, and go through as soon as there is one', async () => {
      await using node = await createNode(mode);
      await node.apply(createService({}), createSlice({}));
      for (const protocol of ['TCP', 'UDP'] as const) {
        for (const from of ['client', 'node', 'pod-a'] as const) {
          assert.equal(await node.ask(from, '10.96.1.1', 80, protocol), 'ECONNREFUSED', `${from} ${protocol}`);
        }
        assert.equal(await node.ask('client', nodeIP, 30080, protocol), 'ECONNREFUSED');
      }
      await node.apply(createService({}), createSlice({ 'pod-b': 'here' }));
      assert.match(await node.ask('client', '10.96.1.1', 80), /^pod-b /);
    });

    it('to a load balancer address come from its source ranges only', async () => {
      await using node = await createNode(mode);
      const status = { loadBalancer: { ingress: [{ ip: '192.0.2.200' }] } };
      const only = (range: string) =>
        createService({ type: 'LoadBalancer', loadBalancerSourceRanges: [range] }, status);
      const slice = createSlice({ 'pod-a': 'here' });
      await node.apply(only('192.0.2.2/32'), slice);
      // The address is not on the link: the client sends it to the node as its router.
      const ask = () => node.ask('pod-b', '192.0.2.200', 80);
      assert.equal(await ask(), 'TIMEOUT');
      await node.apply(only('10.244.2.0/24'), slice);
      assert.match(await ask(), /^pod-a /);
    });
  });
}

describe('a change of modes', { skip }, () => {
  it('keeps connections open, and new ones find their way', async () => {
    await using node = await createNode('iptables');
    await node.apply(createService({}), createSlice({ 'pod-a': 'here' }));
    const held = node.hold('client', '10.96.1.1', 80);
    const said = async () => String((await once(held.stdout, 'data'))[0]);
    try {
      assert.equal(await said(), 'pod-a 10.244.1.1');
      for (const mode of ['nftables', 'iptables'] as const) {
        await node.switchTo(mode);
        held.stdin.write(mode);
        assert.equal(await said(), mode);
        assert.equal(await node.ask('client', nodeIP, 30080), 'pod-a 10.244.1.1');
      }
    } finally {
      const exited = once(held, 'exit');
      held.kill('SIGKILL');
      await exited;
    }
  });
});
