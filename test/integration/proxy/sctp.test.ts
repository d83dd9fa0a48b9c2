// SCTP through a service in each mode, in a kernel that has it. Node's own sockets know no SCTP; perl's do.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { loadProxyConfig } from '../../../proxy/config/proxy-config.ts';
import { createModes } from '../../../proxy/mode.ts';
import { computeServiceState } from '../../../proxy/model/service-state.ts';
import { createNetworkNamespace } from '../../support/network-namespace.ts';
import { describeInUml } from '../../support/uml-tests.ts';

const server = `
use Socket; $| = 1;
socket(my $s, AF_INET, SOCK_STREAM, 132) or die "socket: $!";
bind($s, sockaddr_in(9000, INADDR_ANY)) or die "bind: $!";
listen($s, 5) or die "listen: $!";
print "listening\\n";
while (my $peer = accept(my $c, $s)) { my ($port, $ip) = sockaddr_in($peer); syswrite($c, "pod " . inet_ntoa($ip)); close($c); }
`;
const client = `
use Socket; alarm 15;
socket(my $s, AF_INET, SOCK_STREAM, 132) or die "socket: $!";
connect($s, sockaddr_in($ARGV[1], inet_aton($ARGV[0]))) or do { print "$!"; exit 0; };
sysread($s, my $text, 100); print $text;
`;

const nodeIP = '192.0.2.1';
const pod = { address: '10.244.1.10', gateway: '10.244.1.1' };
const outside = { address: '192.0.2.2', gateway: nodeIP };

function createState() {
  const ports = [{ name: 'assoc', port: 90, nodePort: 30090, protocol: 'SCTP' as const }];
  return computeServiceState(
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'assoc', namespace: 'demo' },
      spec: { type: 'NodePort', clusterIP: '10.96.1.90', ports },
    },
    [
      {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: 'assoc-1', namespace: 'demo' },
        addressType: 'IPv4',
        ports: [{ name: 'assoc', port: 9000, protocol: 'SCTP' }],
        endpoints: [{ addresses: [pod.address], nodeName: 'here', conditions: { ready: true } }],
      },
    ],
    'IPv4',
    { nodeName: 'here', zone: undefined },
  );
}

describeInUml('SCTP, in user-mode Linux', import.meta.filename, 240_000, () => {
  describe('SCTP through a service', { timeout: 120_000 }, () => {
    // The kernel has no nftables that translates addresses.
    for (const mode of ['iptables', 'ipvs'] as const) {
      it(`reaches a pod by cluster IP and by node port in mode ${mode}`, async () => {
        await using node = await createNetworkNamespace('berth-sctp');
        await using inPod = await createNetworkNamespace('berth-sctp');
        await using inClient = await createNetworkNamespace('berth-sctp');
        const ip = async (...args: string[]) => execOrThrow(systemExec, 'ip', args);
        for (const [name, space, { address, gateway }] of [
          ['pod', inPod, pod],
          ['client', inClient, outside],
        ] as const) {
          await ip('-n', node.name, 'link', 'add', name, 'type', 'veth', 'peer', 'name', 'eth0', 'netns', space.name);
          await ip('-n', node.name, 'address', 'add', `${gateway}/24`, 'dev', name);
          await ip('-n', space.name, 'address', 'add', `${address}/24`, 'dev', 'eth0');
          await ip('-n', node.name, 'link', 'set', name, 'up');
          await ip('-n', space.name, 'link', 'set', 'eth0', 'up');
          await ip('-n', space.name, 'route', 'add', 'default', 'via', gateway);
        }
        await execOrThrow(node.exec, 'sysctl', ['-qw', 'net.ipv4.ip_forward=1']);
        const listener = spawn('nsenter', [`--net=${inPod.path}`, 'perl', '-e', server], {
          stdio: ['ignore', 'pipe', 'inherit'],
        });
        try {
          await once(listener.stdout, 'data');
          const { config } = loadProxyConfig(['--cluster-cidr=10.244.0.0/16']);
          const logger = pino({ level: 'silent' });
          const modes = createModes({ config, exec: node.exec, clock: systemClock, logger });
          const applier = modes[mode].createApplier('IPv4', {
            detectLocal: { mode: 'ClusterCIDR', cidrs: config.clusterCIDRs },
            addresses: { nodeIPs: [nodeIP], interfaces: [nodeIP, pod.gateway] },
            serviceCIDRs: () => [],
          });
          await applier.sync(new Map([['demo/assoc', createState()]]));
          const ask = async (host: string, port: number) =>
            await execOrThrow(inClient.exec, 'perl', ['-e', client, host, `${port}`]);
          assert.equal(await ask('10.96.1.90', 90), `pod ${pod.gateway}`);
          assert.equal(await ask(nodeIP, 30090), `pod ${pod.gateway}`);
          await applier.sync(new Map([['demo/assoc', new Map()]]));
          assert.doesNotMatch(await ask(nodeIP, 30090), /^pod/);
        } finally {
          const exited = once(listener, 'exit');
          listener.kill('SIGKILL');
          await exited;
        }
      });
    }
  });
});
