// The subcommands of berth for people. The components and the processes of a cluster do without it.
import { Command, CommanderError, InvalidArgumentError } from 'commander';
import { berthVersion, kubernetesVersion } from '#kube/process/version.ts';
import type { DoctorCommandOptions } from './doctor/command.ts';
import type { ConnectOptions } from './explain/connect.ts';
import type { HollowCommandOptions } from './hollow/options.ts';
import type { InstallCommandOptions } from './install/command.ts';
import type { JoinOptions } from './join/command.ts';
import type { MigrateOptions, StoreOptions } from './store/commands.ts';
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
    .option('--load-balancer-pool <ranges>', 'addresses for services of type LoadBalancer: FIRST-LAST or networks')
    .option('--scheduler-config <file>', 'KubeSchedulerConfiguration of the scheduler')
    .option('--api-port <port>', 'port of the API server', wholeNumber, 6443)
    .option('--instance <name>', 'keeps several clusters on one machine apart', 'berth')
    .option('--pod-cidr <ranges>', 'of pods, 10.244.0.0/16 where absent; one of IPv6 after a comma for both families')
    .option('--service-cidr <ranges>', 'of services, 10.96.0.0/16 where absent; families as those of pods')
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
  connected(program.command('token').description('tokens with which nodes join').command('create'))
    .description('create a bootstrap token and print the line that joins a node')
    .option('--ttl <duration>', 'how long it can be used, 0 for ever', '24h')
    .option('--server <url...>', 'addresses of the API servers as nodes reach them')
    .action(async (options: ConnectOptions & { ttl: string; server?: string[] }) => {
      const { runTokenCreate } = await import('./token/command.ts');
      await runTokenCreate(options);
    });
  program
    .command('join')
    .description('make this machine a node of a cluster')
    .argument('[url...]', 'addresses of the API server, or of equal API servers')
    .option('--token <token>', 'bootstrap token: berth token create, or kubeadm token create')
    .option('--discovery-token-ca-cert-hash <hash...>', "sha256:HEX of the authority's public key", [])
    .option('--discovery-token-unsafe-skip-ca-verification', 'trust whoever knows the token', false)
    .option('--discovery-file <kubeconfig>', 'trust this file instead of asking the server')
    .option('--node-name <name>', "the node's name, the host name where absent")
    .option('--cri-socket <endpoint>', 'of the container runtime', 'unix:///run/containerd/containerd.sock')
    .option('--cgroup-driver <driver>', 'cgroupfs or systemd, as the container runtime', 'cgroupfs')
    .option('--cluster-dns <ip>', "address of the cluster's DNS", '10.96.0.10')
    .option('--cluster-domain <domain>', "the cluster's DNS domain", 'cluster.local')
    .option('--cluster-cidr <cidrs>', 'range of all pods, for the proxy')
    .option('--pod-network', 'let the proxy make the network of pods and enforce its policies', false)
    .option('--cni-conf-dir <directory>', 'where the container runtime reads its networks', '/etc/cni/net.d')
    .option('--foreground', 'run agent and proxy here', false)
    .option('--no-start', 'write the files and start nothing')
    .option('--names <names>', 'names of the services under systemd: berth or kubelet', 'berth')
    .option('--root <directory>', 'where the files go', '/')
    .action(async (urls: string[], options: JoinOptions) => {
      const { runJoin } = await import('./join/command.ts');
      await runJoin(urls, options, signal);
    });
  const ofStore = (command: Command) =>
    command
      .option('--instance <name>', 'which cluster of berth up', 'berth')
      .option('--data-dir <directory>', "the control plane's, where it is another one");
  ofStore(program.command('backup'))
    .description("write a verified copy of the cluster's objects, while it runs or not")
    .argument('<file>', 'where it goes; readable by its owner only')
    .action(async (file: string, options: StoreOptions) => {
      const { runBackup } = await import('./store/commands.ts');
      await runBackup(file, options);
    });
  ofStore(program.command('restore'))
    .description('make a backup the store of a stopped control plane')
    .argument('<file>', 'written by berth backup')
    .option('--force', 'put a store that is there aside', false)
    .action(async (file: string, options: StoreOptions & { force: boolean }) => {
      const { runRestore } = await import('./store/commands.ts');
      await runRestore(file, options);
    });
  ofStore(program.command('migrate'))
    .description('copy the objects of a stopped control plane to etcd, and compare')
    .requiredOption('--to <store>', 'etcd=URL,...')
    .option('--etcd-cafile <file>', "authority of etcd's certificate")
    .option('--etcd-certfile <file>', 'client certificate for etcd')
    .option('--etcd-keyfile <file>', 'key of the client certificate')
    .option('--encryption-provider-config <file>', 'with which the store is sealed, and etcd will be')
    .action(async (options: MigrateOptions) => {
      const { runMigrate } = await import('./store/commands.ts');
      await runMigrate(options);
    });
  program
    .command('install')
    .description('put the services of a node under systemd')
    .option('--names <names>', 'berth (berth-agent, berth-proxy) or kubelet (kubelet, kube-proxy)', 'berth')
    .option('--start', 'start them now', false)
    .option('--dry-run', 'say what would be done', false)
    .option('--root <directory>', 'where the files go', '/')
    .action(async (options: InstallCommandOptions) => {
      const { runInstall } = await import('./install/command.ts');
      await runInstall(options);
    });
  program
    .command('uninstall')
    .description('take the node off this machine: everything that install and join made')
    .option('--dry-run', 'say what would be done', false)
    .option('--root <directory>', 'where the files are', '/')
    .action(async (options: { dryRun: boolean; root: string }) => {
      const { runUninstall } = await import('./install/command.ts');
      process.exitCode = await runUninstall(options);
    });
  program
    .command('doctor')
    .description('what keeps this machine from being a node, and what puts it right')
    .option('--kubeconfig <file>', "the node's; this and the next: /var/lib/kubelet's, or berth up's")
    .option('--config <file>', "the agent's configuration")
    .option('--cert-dir <directory>', "the agent's certificates")
    .option('--root-dir <directory>', "the agent's files")
    .option('--cni-conf-dir <directory>', 'network configurations of the runtime')
    .option('--instance <name>', 'which cluster of berth up', 'berth')
    .option('--cri-socket <endpoint>', 'of the container runtime; that of the configuration where absent')
    .option('-o, --output <format>', 'json')
    .action(async (options: DoctorCommandOptions) => {
      const { runDoctor } = await import('./doctor/command.ts');
      process.exitCode = await runDoctor(options);
    });
  connected(program.command('hollow'))
    .description('nodes without machines: the API traffic of their agents, pods that run nowhere')
    .requiredOption('--nodes <n>', 'how many', wholeNumber)
    .option('--name-prefix <name>', 'they are called NAME-0, NAME-1, …', 'hollow')
    .option('--capacity <amounts>', 'of each node, beside cpu=8,memory=32Gi,pods=110,ephemeral-storage=100Gi', '')
    .option('--labels <pairs>', 'labels of each node, key=value,…', '')
    .option('--taint <taint...>', 'KEY=VALUE:EFFECT, keeps other pods away', [])
    .option('--zones <n>', 'zones that they are spread over', wholeNumber, 0)
    .option('--start-delay <duration>', 'how long a pod takes to run', '0s')
    .option('--keep', 'leave the nodes in the cluster at the end', false)
    .action(async (options: HollowCommandOptions) => {
      const { runHollow } = await import('./hollow/command.ts');
      await runHollow(options, signal);
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
