// The proxy's rows: first sync, one service added and memory, for each mode at several sizes, so that the growth shows;
// from a generated model (each in a process and a network namespace of its own, mode ipvs in user-mode Linux) and from a
// live API server.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import * as resources from '#kube/api/generated/resources.ts';
import { startControlPlane } from '../test/support/start-control-plane.ts';
import { runInUml, umlUnavailable } from '../test/support/uml-script.ts';
import { type Row, timed } from './measure.ts';
import { endpointsEach, generateService } from './proxy-model.ts';

/** Those that `berth proxy` is started with. */
const nodeFlags = ['--v8-pool-size=1', '--no-wasm-tier-up', '--no-wasm-dynamic-tiering', '--max-semi-space-size=1'];
const umlTimeoutMs = 600_000;

function parseRows(text: string): Row[] {
  const line = text.split('\n').find((candidate) => candidate.startsWith('[{'));
  if (line === undefined) throw new Error(`no rows in: ${text.slice(-2000)}`);
  return JSON.parse(line) as Row[];
}

/** Runs a program of the bench and reads the rows it prints. */
async function runProgram(program: string, ...args: string[]): Promise<Row[]> {
  const child = spawn(process.execPath, [...nodeFlags, join(import.meta.dirname, program), ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, MALLOC_ARENA_MAX: '1' },
  });
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  const [code] = await once(child, 'exit');
  if (code !== 0) throw new Error(`${program} ${args.join(' ')} ended with ${code}`);
  return parseRows(text);
}

async function benchIpvs(size: number): Promise<Row[]> {
  if (umlUnavailable() !== undefined) return [];
  const program = join(import.meta.dirname, 'proxy-size.ts');
  const argv = [process.execPath, ...nodeFlags, program, 'ipvs', `${size}`];
  const { output } = await runInUml(argv, { timeoutMs: umlTimeoutMs, memoryMiB: 2048 });
  const inUml = (work: string): string => work.replace('proxy, ipvs,', 'proxy, ipvs in user-mode Linux,');
  return parseRows(output).map((row) => ({ ...row, work: inUml(row.work) }));
}

/** A whole proxy, informers and all, on an API server that has the services. */
async function benchLive(size: number): Promise<Row[]> {
  const plane = await startControlPlane();
  try {
    await timed(size, 32, async (index) => {
      const { service, slice } = generateService(index);
      const { clusterIP: _, ...spec } = service.spec;
      await plane.client.create(resources.services, 'default', {
        ...service,
        metadata: { ...service.metadata, namespace: 'default' },
        spec,
      });
      await plane.client.create(resources.endpointslices, 'default', {
        ...slice,
        metadata: { ...slice.metadata, namespace: 'default' },
      });
    });
    const rows: Row[] = [];
    for (const mode of ['iptables', 'nftables']) {
      const measured = await runProgram('proxy-live.ts', mode, plane.kubeconfig);
      const title = `proxy, ${mode}, ${size.toLocaleString('en')} services x ${endpointsEach} of a live API server`;
      rows.push(...measured.map((row) => ({ ...row, work: row.work.replace('TITLE', title) })));
    }
    return rows;
  } finally {
    await plane.stop();
  }
}

/** Several sizes, so that the growth shows. */
export async function benchProxy(sizes: readonly number[] = [100, 1000, 10_000, 20_000]): Promise<Row[]> {
  const rows: Row[] = [];
  for (const mode of ['iptables', 'nftables'] as const) {
    for (const size of sizes) rows.push(...(await runProgram('proxy-size.ts', mode, `${size}`)));
  }
  for (const size of sizes) rows.push(...(await benchIpvs(size)));
  for (const size of sizes) rows.push(...(await benchLive(size)));
  return rows;
}
