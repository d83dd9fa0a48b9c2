// The whole proxy in mode ipvs, as a process of its own between a control plane and a kernel that has ipvs: changes,
// a kill, what happened meanwhile, and the clean-up.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { endpointslices, nodes, services } from '#kube/api/generated/resources.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { syncIsolating } from '../../../proxy/apply/isolate-failures.ts';
import { eventually } from '../../support/eventually.ts';
import { createPacketNode } from '../../support/packet-node.ts';
import { packetState } from '../../support/packet-services.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { describeInUml } from '../../support/uml-tests.ts';

const cli = join(import.meta.dirname, '../../../cli/main.ts');
const namespace = 'default';
const foreign = { server: '192.0.2.77:25', real: '203.0.113.25:25', chain: 'FOREIGN', set: 'FOREIGN' };
const patienceMs = 60_000;

describeInUml('the whole proxy in mode ipvs, in user-mode Linux', import.meta.filename, 400_000, () => {
  describe('the proxy in mode ipvs', { timeout: 360_000 }, () => {
    let plane: TestControlPlane;
    let proxy: ChildProcess | undefined;
    let log = '';
    const run = (file: string, ...args: string[]): Promise<string> => execOrThrow(systemExec, file, args);
    const servers = (): Promise<string> => run('ipvsadm', '-S', '-n');
    const flags = () => [
      `--kubeconfig=${plane.kubeconfig}`,
      '--proxy-mode=ipvs',
      '--hostname-override=here',
      '--ipvs-min-sync-period=10ms',
      '--healthz-bind-address=127.0.0.1:10256',
      '--metrics-bind-address=127.0.0.1:10249',
      '--conntrack-max-per-core=0',
    ];
    const berthProxy = (...more: string[]): ChildProcess => {
      const child = spawn(process.execPath, [cli, 'proxy', ...flags(), ...more], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      child.stderr?.on('data', (text) => {
        log = `${log}${text}`.slice(-10_000);
      });
      return child;
    };
    /** Waits until the virtual servers are so; a failure shows the proxy's words. */
    const waitServers = async (what: string, test: (text: string) => boolean): Promise<void> => {
      let last = '';
      try {
        await eventually(
          what,
          async () => {
            last = await servers();
            return test(last);
          },
          patienceMs,
        );
      } catch (error) {
        throw new Error(`${what}: never\n${last}\n${log}`, { cause: error });
      }
    };
    const createService = (name: string, clusterIP: string, nodePort?: number) =>
      plane.client.create(services, namespace, {
        metadata: { name },
        spec: {
          clusterIP,
          ...(nodePort === undefined ? {} : { type: 'NodePort' }),
          ports: [{ name: 'http', port: 80, protocol: 'TCP', ...(nodePort === undefined ? {} : { nodePort }) }],
        },
      });
    const slice = (name: string, ...addresses: string[]) => ({
      metadata: { name: `${name}-1`, labels: { 'kubernetes.io/service-name': name } },
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
      endpoints: addresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
    });
    const setEndpoints = (name: string, ...addresses: string[]) =>
      plane.client.patch(endpointslices, { namespace, name: `${name}-1` }, 'merge', {
        endpoints: slice(name, ...addresses).endpoints,
      });
    const kill = async (signal: NodeJS.Signals): Promise<void> => {
      if (proxy === undefined || proxy.exitCode !== null || proxy.signalCode !== null) return;
      const ended = once(proxy, 'exit');
      proxy.kill(signal);
      await ended;
    };
    const has =
      (ip: string, ...reals: string[]) =>
      (text: string) =>
        text.includes(`-A -t ${ip}:80 `) &&
        reals.every((real) => text.includes(`-a -t ${ip}:80 -r ${real}:8080 -m -w 1`)) &&
        text.split('\n').filter((line) => line.startsWith(`-a -t ${ip}:80 `)).length === reals.length;

    before(async () => {
      await run('ip', 'link', 'add', 'uplink', 'type', 'dummy');
      await run('ip', 'address', 'add', '192.0.2.1/24', 'dev', 'uplink');
      await run('ip', 'link', 'set', 'uplink', 'up');
      await run('ipvsadm', '-A', '-t', foreign.server, '-s', 'rr');
      await run('ipvsadm', '-a', '-t', foreign.server, '-r', foreign.real, '-m');
      await run('iptables', '-t', 'nat', '-N', foreign.chain);
      await run('iptables', '-t', 'nat', '-A', 'PREROUTING', '-d', '203.0.113.9/32', '-j', foreign.chain);
      await run('ipset', 'create', foreign.set, 'hash:ip');
      plane = await startControlPlane();
      await plane.client.create(nodes, undefined, { metadata: { name: 'here' }, spec: {} });
      await createService('web', '10.96.77.1', 30077);
      await plane.client.create(endpointslices, namespace, slice('web', '10.244.9.9'));
    });
    after(async () => {
      await kill('SIGKILL');
      await plane?.stop();
    });

    it('programs what there is, follows changes, and says its mode', { timeout: 200_000 }, async () => {
      proxy = berthProxy();
      await waitServers('the first service is served', has('10.96.77.1', '10.244.9.9'));
      assert.match(await servers(), /-A -t 192\.0\.2\.1:30077 /);
      assert.match(await run('ip', '-o', 'address', 'show', 'dev', 'kube-ipvs0'), /10\.96\.77\.1\/32/);
      await eventually('it is healthy', async () => (await fetch('http://127.0.0.1:10256/healthz')).ok, patienceMs);
      assert.equal(await (await fetch('http://127.0.0.1:10249/proxyMode')).text(), 'ipvs');
      assert.match(log, /"mode":"ipvs".*programs rules in this mode/);
      await setEndpoints('web', '10.244.9.9', '10.244.9.10');
      await waitServers('the second endpoint is served', has('10.96.77.1', '10.244.9.9', '10.244.9.10'));
      await createService('other', '10.96.77.2');
      await plane.client.create(endpointslices, namespace, slice('other', '10.244.9.11'));
      await waitServers('the second service is served', has('10.96.77.2', '10.244.9.11'));
      const taint = { key: 'ToBeDeletedByClusterAutoscaler', effect: 'NoSchedule' };
      await plane.client.patch(nodes, { name: 'here' }, 'merge', { spec: { taints: [taint] } });
      const status = async (path: string) => (await fetch(`http://127.0.0.1:10256/${path}`)).status;
      await eventually(
        'load balancers drain a node that is to go',
        async () => (await status('healthz')) === 503,
        patienceMs,
      );
      assert.equal(await status('livez'), 200);
    });

    it('leaves all rules when it is killed, and puts right what changed meanwhile', { timeout: 200_000 }, async () => {
      await kill('SIGKILL');
      const left = await servers();
      assert.ok(has('10.96.77.1', '10.244.9.9', '10.244.9.10')(left), left);
      await plane.client.delete(services, { namespace, name: 'other' });
      await setEndpoints('web', '10.244.9.10');
      await createService('new', '10.96.77.3');
      await plane.client.create(endpointslices, namespace, slice('new', '10.244.9.12'));
      proxy = berthProxy();
      await waitServers('the new service is served', has('10.96.77.3', '10.244.9.12'));
      await waitServers('the service that is gone is not', (text) => !text.includes('10.96.77.2:80'));
      await waitServers(
        'an endpoint that is gone gets nothing more',
        (text) => !text.includes('-r 10.244.9.9:8080 -m -w 1') && text.includes('-r 10.244.9.10:8080 -m -w 1'),
      );
      assert.doesNotMatch(await run('ip', '-o', 'address', 'show', 'dev', 'kube-ipvs0'), /10\.96\.77\.2\//);
    });

    it('removes all that is its own when told to, and nothing else', { timeout: 120_000 }, async () => {
      await kill('SIGTERM');
      const cleanup = berthProxy('--cleanup');
      const [code] = (await once(cleanup, 'exit', { signal: AbortSignal.timeout(100_000) })) as [number];
      assert.equal(code, 0, log);
      const lines = (await servers()).trim().split('\n').sort();
      assert.deepEqual(lines, [`-A -t ${foreign.server} -s rr`, `-a -t ${foreign.server} -r ${foreign.real} -m -w 1`]);
      assert.equal((await run('ipset', 'list', '-n')).trim(), foreign.set);
      assert.notEqual((await systemExec('ip', ['link', 'show', 'kube-ipvs0'])).exitCode, 0);
      const saved = await run('iptables-save');
      assert.doesNotMatch(saved, /KUBE-/);
      assert.match(saved, /-A PREROUTING -d 203\.0\.113\.9\/32 -j FOREIGN/);
    });

    it('holds back no other service for one whose rules the kernel refuses', { timeout: 120_000 }, async () => {
      await using node = await createPacketNode('ipvs', { isSilent: true });
      const here = { 'pod-a': { on: 'here' } } as const;
      const state = (index: number, range?: string) =>
        packetState('IPv4', range === undefined ? {} : { loadBalancerSourceRanges: [range] }, here, index);
      const others = [1, 2, 3, 4, 5, 6, 8];
      const all = new Map([...others.map((index) => state(index)), state(7, '192.0.2.0/33')]);
      const { refused, applied } = await syncIsolating(node.applier('IPv4'), all);
      assert.deepEqual(
        refused.map(({ key }) => key),
        ['demo/web-7'],
      );
      assert.equal(applied.size, others.length);
      const own = () => execOrThrow(node.exec, 'ipvsadm', ['-S', '-n']);
      for (const index of others) assert.match(await own(), new RegExp(`-A -t 10\\.96\\.1\\.${index}:80 `));
      const { refused: none } = await syncIsolating(node.applier('IPv4'), new Map([state(7, '192.0.2.0/24')]));
      assert.deepEqual(none, []);
      assert.match(await own(), /-A -t 10\.96\.1\.7:80 /);
    });
  });
});
