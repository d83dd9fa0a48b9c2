// The subcommands of berth for people. The components and the processes of a cluster do without it.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { berthVersion, kubernetesVersion } from '#kube/process/version.ts';
import type { ConnectOptions } from './explain/connect.ts';
import type { UpOptions } from './up/options.ts';

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
  program
    .command('down')
    .description('take down the cluster of this machine')
    .option('--purge', 'also remove its data, logs and configuration', false)
    .option('--instance <name>', 'which cluster', 'berth')
    .action(async (options: { purge: boolean; instance: string }) => {
      const { runDown } = await import('./down/command.ts');
      await runDown(options);
    });
  const connected = (command: Command) =>
    command
      .option('--kubeconfig <file>', 'of the cluster; KUBECONFIG or the cluster of this machine where absent')
      .option('--context <name>', 'context of the kubeconfig');
  connected(program.command('explain').description('say what something waits for').command('pod <namespace/name>'))
    .description('the one step that keeps a pod from being ready, its age, last error and next retry')
    .option('-o, --output <format>', 'json')
    .action(async (name: string, options: ConnectOptions & { output?: string }) => {
      const { runExplainPod } = await import('./explain/commands.ts');
      await runExplainPod(name, options, signal);
    });
  connected(program.command('retry').description('try something again at once').command('pod <namespace/name>'))
    .description('forget the backoff of a pod and of its images')
    .action(async (name: string, options: ConnectOptions) => {
      const { runRetryPod } = await import('./explain/commands.ts');
      await runRetryPod(name, options, signal);
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

/** Runs the subcommand of a command line. Returns the exit code. */
export async function runProgram(argv: readonly string[], signal: AbortSignal): Promise<number> {
  try {
    await createProgram(signal).parseAsync(argv, { from: 'user' });
    return 0;
  } catch (error) {
    // Help, the version, and wrong use: commander has said it.
    if (error instanceof CommanderError) return error.exitCode;
    throw error;
  }
}
