// A control plane of its own for the API server's rows, started as a user would start it.
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createLoadClient, type LoadClient } from './http.ts';

const berth = join(import.meta.dirname, '../packaging/berth');
/** Another port lets two runs go beside each other. */
const port = Number(process.env['BENCH_PORT'] ?? '16443');
/** Calls that are under way at once. */
export const connections = 16;

export interface BenchedControlPlane {
  dir: string;
  child: ChildProcess;
  client: LoadClient;
  startSeconds: number;
}

/** Resolves when it is ready. */
export async function startBenchedControlPlane(more: readonly string[] = []): Promise<BenchedControlPlane> {
  const dir = await mkdtemp(join(tmpdir(), 'berth-bench-'));
  const flags = [`--data-dir=${dir}/data`, `--pki-dir=${dir}/pki`, `--kubeconfig-dir=${dir}`, `--secure-port=${port}`];
  const started = performance.now();
  const address = ['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1'];
  const child = spawn(berth, ['control-plane', ...flags, ...address, ...more], { stdio: 'ignore' });
  const kubeconfig = join(dir, 'admin.kubeconfig');
  for (;;) {
    await sleep(10);
    if (!existsSync(kubeconfig)) continue;
    const client = createLoadClient(kubeconfig, connections);
    const answer = await client.call('GET', '/readyz').catch(() => undefined);
    if (answer?.status === 200) return { dir, child, client, startSeconds: (performance.now() - started) / 1000 };
    client.close();
    if (child.exitCode !== null) throw new Error('the control plane ended while starting');
  }
}

/** Ends it and removes its files. */
export async function stopBenchedControlPlane({ dir, child, client }: BenchedControlPlane): Promise<void> {
  client.close();
  child.kill('SIGTERM');
  await once(child, 'exit');
  await rm(dir, { recursive: true, force: true });
}
