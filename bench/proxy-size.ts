// `proxy-size.ts MODE COUNT`: one mode at one number of services, in a process of its own, so that its memory is that of
// a proxy. Prints rows as JSON.
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { loadProxyConfig, type ModeName, modeNames } from '../proxy/config/proxy-config.ts';
import { createModes } from '../proxy/mode.ts';
import { createNetworkNamespace } from '../test/support/network-namespace.ts';
import { median, type Row } from './measure.ts';
import { endpointsEach, generateState } from './proxy-model.ts';

const changesMeasured = 5;

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return (performance.now() - started) / 1000;
}

/** The least that one change costs by hand, and that everything does: what the programs need alone. */
interface Floors {
  change(exec: Exec, index: number): Promise<unknown>;
  /** Reads what is there and writes it where nothing is. */
  copy(from: Exec, to: Exec): Promise<() => Promise<unknown>>;
}

const floors: Record<ModeName, Floors> = {
  iptables: {
    change: async (exec, i) => {
      const input = `*nat\n:BENCH-A${i} - [0:0]\n:BENCH-B${i} - [0:0]\n-A BENCH-A${i} -d 192.0.2.1/32 -j BENCH-B${i}\n-A BENCH-B${i} -d 192.0.2.2/32 -j RETURN\nCOMMIT\n`;
      await execOrThrow(exec, 'iptables-restore', ['--noflush'], { input });
    },
    copy: async (from, to) => {
      const input = await execOrThrow(from, 'iptables-save', ['-t', 'nat']);
      return async () => await execOrThrow(to, 'iptables-restore', [], { input });
    },
  },
  nftables: {
    change: async (exec, i) => {
      if (i === 0) await execOrThrow(exec, 'nft', ['add', 'chain', 'ip', 'kube-proxy', 'bench-floor']);
      await execOrThrow(exec, 'nft', `add rule ip kube-proxy bench-floor ip daddr 192.0.2.${i} drop`.split(' '));
    },
    copy: async (from, to) => {
      const input = await execOrThrow(from, 'nft', ['list', 'ruleset']);
      return async () => await execOrThrow(to, 'nft', ['-f', '-'], { input });
    },
  },
  ipvs: {
    change: async (exec, i) => await execOrThrow(exec, 'ipvsadm', ['-A', '-t', `192.0.2.${i}:80`, '-s', 'rr']),
    copy: async (from, to) => {
      const sets = await execOrThrow(from, 'ipset', ['save']);
      const servers = await execOrThrow(from, 'ipvsadm', ['-S', '-n']);
      return async () => {
        await execOrThrow(to, 'ipset', ['restore'], { input: sets });
        await execOrThrow(to, 'ipvsadm', ['-R'], { input: servers });
      };
    },
  },
};

const budgets: Record<ModeName, [string, string]> = {
  iptables: ['<= 2 x floor', '<= 2 x floor'],
  nftables: ['<= 5 s', '<= 0.2 s'],
  ipvs: ['<= 5 s', '<= 0.1 s'],
};

async function benchSize(name: ModeName, count: number): Promise<Row[]> {
  await using namespace = await createNetworkNamespace('berth-bench');
  await using empty = await createNetworkNamespace('berth-bench');
  const { config } = loadProxyConfig(['--cluster-cidr=10.244.0.0/16']);
  const logger = pino({ level: 'silent' });
  const applier = createModes({ config, exec: namespace.exec, clock: systemClock, logger })[name].createApplier(
    'IPv4',
    {
      detectLocal: { mode: 'ClusterCIDR', cidrs: config.clusterCIDRs },
      addresses: { nodeIPs: ['192.0.2.1'], interfaces: ['192.0.2.1'] },
      serviceCIDRs: () => ['10.96.0.0/12'],
    },
  );
  const first = await seconds(async () => {
    await applier.sync(new Map(Array.from({ length: count }, (_, i) => generateState(i))));
  });
  const changes: number[] = [];
  for (let i = 0; i < changesMeasured; i += 1) {
    changes.push(await seconds(() => applier.sync(new Map([generateState(count + i)]))));
  }
  globalThis.gc?.();
  const memoryMb = process.memoryUsage.rss() / 2 ** 20;
  const copy = await floors[name].copy(namespace.exec, empty.exec);
  const changeFloors: number[] = [];
  for (let i = 0; i < changesMeasured; i += 1) {
    changeFloors.push(await seconds(() => floors[name].change(namespace.exec, i)));
  }
  const size = `${count.toLocaleString('en')} services x ${endpointsEach}`;
  const [firstBudget, changeBudget] = budgets[name];
  return [
    {
      work: `proxy, ${name}, ${size}: first sync`,
      unit: 's',
      berth: first,
      floor: await seconds(copy),
      budget: firstBudget,
    },
    {
      work: 'same, one service added',
      unit: 's',
      berth: median(changes),
      floor: median(changeFloors),
      budget: changeBudget,
    },
    { work: 'same, memory of the process', unit: 'MB', berth: memoryMb, budget: '<= 200 MB' },
  ];
}

const [, , modeArgument = '', countArgument = ''] = process.argv;
const mode = modeNames.find((name) => name === modeArgument);
if (mode === undefined) throw new Error(`there is no mode ${modeArgument}`);
process.stdout.write(`${JSON.stringify(await benchSize(mode, Number(countArgument)))}\n`);
