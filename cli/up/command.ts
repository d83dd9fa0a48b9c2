// `berth up`: brings the cluster up in the foreground, or in a process of its own with --detach.
import { fork } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { parseNetwork } from '#kube/api/ip-address.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { parseAddressRanges } from '../../control-plane-lite/controllers/service-load-balancer/address-ranges.ts';
import { loadSchedulerConfig } from '../../control-plane-lite/scheduler/profile/load-scheduler-config.ts';
import { runDemo } from '../demo/run-demo.ts';
import type { ClusterLayout } from './layout.ts';
import { layoutFor, type UpOptions } from './options.ts';
import { createProgress, type Progress } from './progress.ts';
import { applyReport, type DetachedMessage } from './progress-message.ts';
import { isAlive, type RunState, readRunState } from './run-state.ts';
import { supervise } from './supervise.ts';

const titles = {
  machine: 'Machine',
  'control-plane': 'Control plane',
  runtime: 'Container runtime',
  nodes: 'Nodes',
  proxy: 'Service proxy',
};
const demoTitles = { apply: 'Sample applied', rollout: 'Sample rolled out', page: 'Page fetched' };

/** Throws UsageError for what is not one range of IPv4, or that and one of IPv6. */
function checkRanges(flag: string, text: string | undefined): void {
  const families = text?.split(',').map((cidr) => parseNetwork(cidr)?.family) ?? [4];
  if (`${families}` === '4' || `${families}` === '4,6') return;
  throw new UsageError(`--${flag} takes a range of IPv4, or that and one of IPv6 after a comma, not "${text}"`);
}

function checkOptions({ instance, nodes, loadBalancerPool, schedulerConfig, podCidr, serviceCidr }: UpOptions): void {
  checkRanges('pod-cidr', podCidr);
  checkRanges('service-cidr', serviceCidr);
  if ((podCidr?.includes(':') ?? false) !== (serviceCidr?.includes(':') ?? false))
    throw new UsageError('--pod-cidr and --service-cidr take ranges of the same families');
  if (!/^[a-z][a-z0-9-]{0,20}$/.test(instance)) {
    throw new UsageError(`--instance takes lower case letters, digits and dashes, at most 21, not "${instance}"`);
  }
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 50)
    throw new UsageError(`--nodes takes a number from 1 to 50, not ${nodes}`);
  if (loadBalancerPool !== undefined) parseAddressRanges(loadBalancerPool.split(','));
  if (schedulerConfig !== undefined) loadSchedulerConfig(schedulerConfig);
  if (process.getuid?.() !== 0) throw new UsageError('berth up needs root: run it with sudo');
}

async function runningState(layout: ClusterLayout): Promise<RunState | undefined> {
  const state = await readRunState(layout.stateFile);
  return state !== undefined && isAlive(state.supervisor) ? state : undefined;
}

/** The message of an error for a person; the stack is in the log. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Starts the detached process and shows what it reports. Resolves when the cluster is ready. */
async function detach(options: UpOptions, layout: ClusterLayout, progress: Progress): Promise<void> {
  mkdirSync(layout.logDir, { recursive: true });
  const log = openSync(join(layout.logDir, 'up.out'), 'a', 0o600);
  const args = ['up-detached', JSON.stringify(options)];
  const child = fork(process.argv[1] ?? '', args, { detached: true, stdio: ['ignore', log, log, 'ipc'] });
  const outcome = Promise.withResolvers<void>();
  child.on('message', (message: DetachedMessage) => {
    if (message.type === 'ready') outcome.resolve();
    else if (message.type === 'failed') outcome.reject(new UsageError(message.message));
    else applyReport(progress, message);
  });
  child.once('exit', (code) => outcome.reject(new Error(`berth up ended with ${code}: see ${layout.logDir}`)));
  const interrupt = (): void => {
    child.kill('SIGTERM');
  };
  process.once('SIGINT', interrupt);
  try {
    await outcome.promise;
  } finally {
    process.removeListener('SIGINT', interrupt);
    child.removeAllListeners('exit');
  }
  child.unref();
}

function describe(layout: ClusterLayout, state: Pick<RunState, 'nodeCount' | 'processes'> | undefined): string {
  const processes = (state?.processes ?? []).map(({ name, pid }) => `  ${name.padEnd(24)} pid ${pid}`).join('\n');
  return `berth is up: ${layout.nodes.map((node) => node.name).join(', ')}\n${processes}`;
}

function thingsToTry(layout: ClusterLayout, demo: boolean): string {
  const lines = [`export KUBECONFIG=${layout.adminKubeconfig}`, 'kubectl get pods -A -o wide'];
  if (demo)
    lines.push(
      'kubectl logs -f deployment/hello',
      'kubectl scale deployment/hello --replicas 4 && kubectl rollout status deployment/hello',
    );
  else lines.push('kubectl create deployment web --image localhost/berth/busybox:1 -- httpd -f');
  return `\nkubeconfig: ${layout.adminKubeconfig}\n\nThings to try:\n${lines.map((line) => `  ${line}`).join('\n')}\n`;
}

async function demonstrate(layout: ClusterLayout, nodeIP: string): Promise<void> {
  const progress = createProgress(demoTitles, process.stdout);
  try {
    const page = await runDemo({
      layout,
      nodeIP,
      exec: systemExec,
      clock: systemClock,
      env: process.env,
      report: progress,
    });
    await progress.finish();
    process.stdout.write(`\n${page}\n`);
  } catch (error) {
    await progress.finish(error as Error);
    throw error;
  }
}

/** Runs `berth up`. A second run says what is up already. */
export async function runUp(options: UpOptions, signal: AbortSignal): Promise<void> {
  checkOptions(options);
  let layout = layoutFor(options);
  const running = await runningState(layout);
  if (running !== undefined) {
    layout = layoutFor({ instance: options.instance, nodes: running.nodeCount });
    process.stdout.write(`${describe(layout, running)}\n`);
    if (options.demo && running.ready) await demonstrate(layout, running.nodeIP);
    process.stdout.write(thingsToTry(layout, options.demo));
    return;
  }
  const progress = createProgress(titles, process.stdout);
  try {
    if (options.detach) {
      await detach(options, layout, progress);
      await progress.finish();
    } else {
      const ready = (): void => {
        // The demonstration runs beside the cluster; its failure does not take the cluster down.
        progress
          .finish()
          .then(async () =>
            options.demo ? await demonstrate(layout, (await readRunState(layout.stateFile))?.nodeIP ?? '') : undefined,
          )
          .then(() => process.stdout.write(`${thingsToTry(layout, options.demo)}\nCtrl-C takes the cluster down.\n`))
          .catch((error: unknown) => process.stderr.write(`${messageOf(error)}\n`));
      };
      await supervise(options, progress, ready, signal);
      return;
    }
  } catch (error) {
    await progress.finish(error as Error);
    throw error;
  }
  const state = await readRunState(layout.stateFile);
  process.stdout.write(`${describe(layout, state)}\n`);
  if (options.demo) await demonstrate(layout, state?.nodeIP ?? '');
  process.stdout.write(thingsToTry(layout, options.demo));
}
