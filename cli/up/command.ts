// `berth up`: brings the cluster up in the foreground, or in a process of its own with --detach.
import { fork } from 'node:child_process';
import { mkdirSync, openSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';
import { runDemo } from '../demo/run-demo.ts';
import { stopLeftovers, teardown } from '../down/teardown.ts';
import { type ClusterLayout, computeLayout } from './layout.ts';
import { createProgress, forwardReport, type Progress, type ProgressMessage, type Report } from './progress.ts';
import { isAlive, type RunState, readRunState, recordProcess, writeRunState } from './run-state.ts';
import { startCluster } from './start-cluster.ts';
import { createSupervisor } from './supervisor.ts';

export interface UpOptions {
  instance: string;
  nodes: number;
  apiPort: number;
  store: string | undefined;
  detach: boolean;
  demo: boolean;
}

const titles = {
  machine: 'Machine',
  'control-plane': 'Control plane',
  runtime: 'Container runtime',
  nodes: 'Nodes',
  proxy: 'Service proxy',
};
const demoTitles = { apply: 'Sample applied', rollout: 'Sample rolled out', page: 'Page fetched' };

function layoutFor(options: Pick<UpOptions, 'instance' | 'nodes'>): ClusterLayout {
  return computeLayout({
    instance: options.instance,
    hostname: hostname().trim().toLowerCase(),
    nodeCount: options.nodes,
  });
}

function checkOptions({ instance, nodes }: UpOptions): void {
  if (!/^[a-z][a-z0-9-]{0,20}$/.test(instance)) {
    throw new UsageError(`--instance takes lower case letters, digits and dashes, at most 21, not "${instance}"`);
  }
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 50)
    throw new UsageError(`--nodes takes a number from 1 to 50, not ${nodes}`);
}

async function runningState(layout: ClusterLayout): Promise<RunState | undefined> {
  const state = await readRunState(layout.stateFile);
  return state !== undefined && isAlive(state.supervisor) ? state : undefined;
}

/** Starts everything and keeps it running until the signal is aborted; then takes it all down. */
async function supervise(
  options: UpOptions,
  layout: ClusterLayout,
  report: Report,
  ready: () => void,
  signal: AbortSignal,
): Promise<void> {
  const logger = pino(
    { base: { component: 'up' } },
    pino.destination({ dest: join(layout.logDir, 'up.log'), mkdir: true, sync: true }),
  );
  const previous = await readRunState(layout.stateFile);
  if (previous !== undefined) await stopLeftovers(previous, systemClock);
  const state: RunState = {
    supervisor: recordProcess('up', process.pid),
    processes: [],
    hostname: layout.nodes[0]?.name ?? '',
    nodeCount: options.nodes,
    nodeIP: previous?.nodeIP ?? '',
    ready: false,
    sysctls: previous?.sysctls ?? {},
  };
  let writing = Promise.resolve();
  const save = (): Promise<void> => {
    writing = writing.then(() => writeRunState(layout.stateFile, state));
    return writing;
  };
  const supervisor = createSupervisor(systemClock, logger, () => {
    state.processes = supervisor.processes;
    save().catch((error: unknown) => logger.error({ err: error }, 'cannot record the state'));
  });
  await save();
  try {
    await startCluster({
      layout,
      supervisor,
      exec: systemExec,
      clock: systemClock,
      env: process.env,
      uid: process.getuid?.() ?? -1,
      apiPort: options.apiPort,
      store: options.store,
      report,
      signal,
      changed: async ({ nodeIP, sysctls }) => {
        if (nodeIP !== undefined) state.nodeIP = nodeIP;
        // What was there before the first run counts, not what that run set.
        if (sysctls !== undefined) state.sysctls = { ...sysctls, ...state.sysctls };
        await save();
      },
    });
    state.ready = true;
    await save();
    ready();
    const stopped = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => stopped.resolve(), { once: true });
    if (!signal.aborted) await stopped.promise;
  } catch (error) {
    logger.error({ err: error }, 'cannot bring the cluster up');
    await writing;
    // What went wrong first is what the user has to know; the log has the rest.
    await teardown({ layout, state, supervisor, exec: systemExec, clock: systemClock, logger }).catch(() => undefined);
    throw error;
  }
  await writing;
  await teardown({ layout, state, supervisor, exec: systemExec, clock: systemClock, logger });
}

/** The message of an error for a person; the stack is in the log. */
function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The detached process: reports to its parent until the cluster is ready. */
export async function runDetachedChild(options: UpOptions, signal: AbortSignal): Promise<void> {
  const layout = layoutFor(options);
  const send = (message: ProgressMessage): void => {
    if (process.connected) process.send?.(message);
  };
  try {
    const ready = (): void => {
      send({ type: 'ready' });
      if (process.connected) process.disconnect();
    };
    await supervise(options, layout, forwardReport(send), ready, signal);
  } catch (error) {
    send({ type: 'failed', message: messageOf(error) });
    if (process.connected) process.disconnect();
    throw error;
  }
}

/** Starts the detached process and shows what it reports. Resolves when the cluster is ready. */
async function detach(options: UpOptions, layout: ClusterLayout, progress: Progress): Promise<void> {
  mkdirSync(layout.logDir, { recursive: true });
  const log = openSync(join(layout.logDir, 'up.out'), 'a', 0o600);
  const args = ['up-detached', JSON.stringify(options)];
  const child = fork(process.argv[1] ?? '', args, { detached: true, stdio: ['ignore', log, log, 'ipc'] });
  const outcome = Promise.withResolvers<void>();
  child.on('message', (message: ProgressMessage) => {
    switch (message.type) {
      case 'start':
        return progress.start(message.step);
      case 'detail':
        return progress.detail(message.step, message.text ?? '');
      case 'done':
        return progress.done(message.step, message.text);
      case 'ready':
        return outcome.resolve();
      case 'failed':
        return outcome.reject(new UsageError(message.message));
      default:
        return message satisfies never;
    }
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
      await supervise(options, layout, progress, ready, signal);
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
