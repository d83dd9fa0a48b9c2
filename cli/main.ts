// The berth command. The only place that reads the command line, installs signal handlers and sets the exit code.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { UsageError } from '#kube/process/flags.ts';
import { berthVersion, kubernetesVersion } from '#kube/process/version.ts';
import type { UpOptions } from './up/command.ts';

/** Components take their own flags, those of the upstream programs, so commander does not see them. */
const components: Record<string, () => Promise<{ main(argv: readonly string[], signal: AbortSignal): Promise<void> }>> =
  {
    agent: () => import('../agent/main.ts'),
    proxy: () => import('../proxy/main.ts'),
    'control-plane': () => import('../control-plane-lite/main.ts'),
  };

function wholeNumber(text: string): number {
  if (!/^\d+$/.test(text)) throw new InvalidArgumentError('a whole number is needed');
  return Number(text);
}

function createProgram(signal: AbortSignal): Command {
  const program = new Command('berth');
  program
    .description('A node-side agent suite for Kubernetes: kubelet, kube-proxy and a bundled control plane.')
    .version(`berth ${berthVersion} (Kubernetes ${kubernetesVersion})`)
    .exitOverride()
    .showSuggestionAfterError();
  program
    .command('up')
    .description('bring up a cluster on this machine')
    .option('--nodes <n>', 'nodes of the cluster, those beyond the first as network namespaces', wholeNumber, 1)
    .option('--detach', 'return when the cluster is up, and keep it running', false)
    .option('--demo', 'apply a sample workload and fetch its page', false)
    .option('--store <url>', 'where the control plane keeps its objects: embedded, or etcd=URL,...')
    .option('--api-port <port>', 'port of the API server', wholeNumber, 6443)
    .option('--instance <name>', 'keeps several clusters on one machine apart', 'berth')
    .action(async (options: UpOptions) => {
      const { runUp } = await import('./up/command.ts');
      await runUp(options, signal);
    });
  program.command('up-detached <options>', { hidden: true }).action(async (options: string) => {
    const { runDetachedChild } = await import('./up/command.ts');
    await runDetachedChild(JSON.parse(options) as UpOptions, signal);
  });
  program
    .command('down')
    .description('take down the cluster of this machine')
    .option('--purge', 'also remove its data, logs and configuration', false)
    .option('--instance <name>', 'which cluster', 'berth')
    .action(async (options: { purge: boolean; instance: string }) => {
      const { runDown } = await import('./down/command.ts');
      await runDown(options);
    });
  for (const [name, text] of Object.entries({
    agent: 'run the kubelet (its flags: berth agent --help)',
    proxy: 'run the kube-proxy (its flags: berth proxy --help)',
    'control-plane': 'run apiserver, scheduler and controllers (its flags: berth control-plane --help)',
  })) {
    program.command(name).description(text);
  }
  return program;
}

async function run(argv: readonly string[], signal: AbortSignal): Promise<void> {
  const [name = '', ...rest] = argv;
  const load = components[name];
  if (load !== undefined) {
    const component = await load();
    await component.main(rest, signal);
    return;
  }
  await createProgram(signal).parseAsync(argv, { from: 'user' });
}

/** Wrong use is one line; anything else shows where it came from. */
function explain(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  const code = (error as { code?: unknown }).code;
  if (code === 'CLIENT_CONFIG' && error instanceof Error) return error.message;
  return error instanceof Error
    ? process.env['BERTH_DEBUG']
      ? (error.stack ?? error.message)
      : error.message
    : String(error);
}

const stop = new AbortController();
for (const name of ['SIGTERM', 'SIGINT'] as const) {
  process.on(name, () => {
    // A second Ctrl-C means now.
    if (stop.signal.aborted && name === 'SIGINT') process.exit(130);
    stop.abort(new Error(`received ${name}`));
  });
}

try {
  await run(process.argv.slice(2), stop.signal);
  process.exitCode ??= 0;
} catch (error) {
  if (error instanceof CommanderError) {
    process.exitCode = error.exitCode;
  } else if (stop.signal.aborted && error === stop.signal.reason) {
    process.exitCode = 0;
  } else {
    process.stderr.write(`berth: ${explain(error)}\n`);
    process.exitCode = 1;
  }
}
