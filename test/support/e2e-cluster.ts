// A whole cluster for one test file: `berth up` in a network namespace of its own, driven by the real kubectl.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import type { ExecOptions, ExecResult } from '#kube/process/exec.ts';
import { type ClusterLayout, computeLayout } from '../../cli/up/layout.ts';
import { eventually } from './eventually.ts';
import { createNetworkNamespace, type NetworkNamespace } from './network-namespace.ts';

const berth = join(import.meta.dirname, '../../packaging/berth');
const env = { BERTH_SOURCES: '1' };

export interface TestCluster extends AsyncDisposable {
  layout: ClusterLayout;
  namespace: NetworkNamespace;
  /** Runs the berth command in the cluster's namespace. */
  berth(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Runs kubectl and answers its standard output; throws with its error output. */
  kubectl(...args: string[]): Promise<string>;
  /** As kubectl, whatever the exit code. */
  tryKubectl(args: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  /** Starts kubectl and leaves it running. */
  spawnKubectl(...args: string[]): ChildProcess;
  /** Applies a manifest given as an object or YAML text. */
  apply(manifest: object | string): Promise<string>;
  up(): Promise<ExecResult>;
  /** Fetches a page from where the cluster's first node is. */
  fetch(url: string): Promise<ExecResult>;
}

/** Why end-to-end tests cannot run on this machine; undefined when they can. */
export function clustersUnavailable(): string | undefined {
  return process.getuid?.() === 0 ? undefined : 'needs root to run containers';
}

/** The ends of a cluster's logs, for a failure's message. */
export function logTail(layout: ClusterLayout, lines = 15): string {
  if (!existsSync(layout.logDir)) return '';
  return readdirSync(layout.logDir)
    .map(
      (name) =>
        `== ${name}\n${readFileSync(join(layout.logDir, name), 'utf8')
          .split('\n')
          .slice(-lines)
          .map((line) => line.slice(0, 400))
          .join('\n')}`,
    )
    .join('\n');
}

/** Brings a cluster up; disposing it takes everything down again, also after a failure half-way. */
export async function startTestCluster(
  options: { nodes?: number; upFlags?: readonly string[] } = {},
): Promise<TestCluster> {
  const namespace = await createNetworkNamespace('berth-e2e');
  const instance = `bt-${randomBytes(2).toString('hex')}`;
  const nodeCount = options.nodes ?? 1;
  const layout = computeLayout({ instance, hostname: hostname().trim().toLowerCase(), nodeCount });
  const kubeconfig = ['--kubeconfig', layout.adminKubeconfig];
  const run = (args: readonly string[], execOptions: ExecOptions = {}) =>
    namespace.exec(berth, args, { ...execOptions, env: { ...env, ...execOptions.env } });
  const tryKubectl = (args: readonly string[], execOptions?: ExecOptions) =>
    namespace.exec('kubectl', [...kubeconfig, ...args], execOptions);
  const kubectl = async (...args: string[]): Promise<string> => {
    const result = await tryKubectl(args);
    if (result.exitCode !== 0) throw new Error(`kubectl ${args.join(' ')}: ${result.stderr || result.stdout}`);
    return result.stdout;
  };
  const cluster: TestCluster = {
    layout,
    namespace,
    berth: run,
    kubectl,
    tryKubectl,
    spawnKubectl: (...args) =>
      spawn('nsenter', [`--net=${namespace.path}`, 'kubectl', ...kubeconfig, ...args], { stdio: 'pipe' }),
    apply: async (manifest) => {
      const input = typeof manifest === 'string' ? manifest : JSON.stringify(manifest);
      const result = await tryKubectl(['apply', '-f', '-'], { input });
      if (result.exitCode !== 0) throw new Error(`kubectl apply: ${result.stderr}`);
      return result.stdout;
    },
    fetch: (url) => namespace.exec('busybox', ['timeout', '3', 'busybox', 'wget', '-q', '-O', '-', url]),
    up: () => run(['up', '--detach', '--instance', instance, '--nodes', String(nodeCount), ...(options.upFlags ?? [])]),
    [Symbol.asyncDispose]: async () => {
      const down = await run(['down', '--purge', '--instance', instance]);
      await namespace[Symbol.asyncDispose]();
      assert.equal(down.exitCode, 0, down.stderr);
    },
  };
  const result = await cluster.up();
  if (result.exitCode !== 0) {
    const logs = logTail(layout);
    await cluster[Symbol.asyncDispose]();
    throw new Error(`berth up failed: ${result.stderr}\n${result.stdout}\n${logs}`);
  }
  // Pods cannot be made before their namespace has its service account.
  await eventually(
    'the default service account',
    async () => (await tryKubectl(['get', 'serviceaccount', 'default'])).exitCode === 0,
  );
  return cluster;
}
