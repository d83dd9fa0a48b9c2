// `proxy-live.ts MODE KUBECONFIG`: a whole proxy in a network namespace of its own, from its start until all rules are in
// place. Prints rows as JSON, with TITLE where the bench says what was measured.
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { loadProxyConfig } from '../proxy/config/proxy-config.ts';
import { createProxy } from '../proxy/wiring.ts';
import { createNetworkNamespace } from '../test/support/network-namespace.ts';

const [, , mode = '', kubeconfig = ''] = process.argv;
const { config } = loadProxyConfig([
  `--kubeconfig=${kubeconfig}`,
  `--proxy-mode=${mode}`,
  '--iptables-localhost-nodeports=false',
  '--healthz-bind-address=127.0.0.1:0',
  '--metrics-bind-address=127.0.0.1:0',
  '--conntrack-max-per-core=0',
  '--conntrack-tcp-timeout-established=0s',
  '--conntrack-tcp-timeout-close-wait=0s',
]);
await using namespace = await createNetworkNamespace('berth-bench');
const stop = new AbortController();
const started = performance.now();
const logger = pino({ level: 'silent' });
const { exec } = namespace;
const proxy = await createProxy({ config, nodeName: 'bench', clock: systemClock, exec, env: {}, logger });
const running = proxy.run(stop.signal);
await Promise.race([proxy.ready, running]);
const seconds = (performance.now() - started) / 1000;
const memoryMb = process.memoryUsage.rss() / 2 ** 20;
stop.abort();
await running;
const rows = [
  { work: 'TITLE: all rules in place', unit: 's', berth: seconds, budget: '-' },
  { work: 'same, memory of the process', unit: 'MB', berth: memoryMb, budget: '<= 200 MB' },
];
process.stdout.write(`${JSON.stringify(rows)}\n`);
