// `npm run bench [agent|api|dns|pods|proxy|scheduler ...]`: prints the rows of the budget table, with the floor measured in the same
// run. `scale` and `soak MINUTES` are apart: they run when they are named.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { createNetworkNamespace } from '../test/support/network-namespace.ts';
import { benchAgent } from './agent.ts';
import { benchApi } from './api.ts';
import { benchApiGrowth } from './api-growth.ts';
import { benchDns } from './dns.ts';
import { printRows, type Row } from './measure.ts';
import { benchPods } from './pods.ts';
import { benchProxy } from './proxy.ts';
import { benchScale } from './scale.ts';
import { benchScheduler } from './scheduler.ts';
import { benchSoak } from './soak.ts';

const berth = join(import.meta.dirname, '../packaging/berth');
/** Another name lets two runs go beside each other. */
const instance = process.env['BENCH_INSTANCE'] ?? 'berth-bench';
const host = hostname().trim().toLowerCase();

/** Rows about pods run inside the cluster's network namespace: this program starts itself there and reads its rows. */
async function benchInNamespace(...inside: string[]): Promise<Row[]> {
  await using namespace = await createNetworkNamespace(instance);
  try {
    const up = await namespace.exec(berth, ['up', '--detach', '--instance', instance]);
    if (up.exitCode !== 0) throw new Error(up.stderr);
    const child = spawn('nsenter', [`--net=${namespace.path}`, process.execPath, import.meta.filename, ...inside], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const [code] = await once(child, 'exit');
    if (code !== 0) throw new Error(`the bench in the namespace ended with ${code}`);
    return JSON.parse(text) as Row[];
  } finally {
    await namespace.exec(berth, ['down', '--purge', '--instance', instance]);
  }
}

const benches: Record<string, () => Promise<Row[]>> = {
  proxy: () => benchProxy(),
  dns: benchDns,
  api: async () => [...(await benchApi()), ...(await benchApiGrowth())],
  scheduler: benchScheduler,
  pods: () => benchInNamespace('--pods-inside'),
  agent: () => benchInNamespace('--agent-inside'),
};

const args = process.argv.slice(2);
const soakMinutes = args.find((name) => /^\d+$/.test(name)) ?? '30';
const named = args.filter((name) => name !== soakMinutes);
if (args[0] === '--pods-inside') {
  process.stdout.write(JSON.stringify(await benchPods(instance, host)));
} else if (args[0] === '--agent-inside') {
  process.stdout.write(JSON.stringify(await benchAgent(instance, host)));
} else if (args[0] === '--soak-inside') {
  process.stdout.write(JSON.stringify(await benchSoak(instance, host, Number(args[1]))));
} else {
  const all = { ...benches, scale: benchScale, soak: () => benchInNamespace('--soak-inside', soakMinutes) };
  const unknown = named.filter((name) => all[name as keyof typeof all] === undefined);
  if (unknown.length > 0) {
    process.stderr.write(`unknown bench ${unknown.join(', ')}; there are ${Object.keys(all).join(', ')}\n`);
    process.exitCode = 1;
  } else {
    const rows: Row[] = [];
    for (const name of named.length > 0 ? named : Object.keys(benches)) {
      process.stderr.write(`running ${name}\n`);
      rows.push(...((await all[name as keyof typeof all]?.()) ?? []));
    }
    printRows(rows, (line) => process.stdout.write(`${line}\n`));
  }
}
